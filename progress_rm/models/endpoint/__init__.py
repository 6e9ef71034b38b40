"""The reward-model family `endpoint`."""
