"""The reward-model family `procvlm`."""
