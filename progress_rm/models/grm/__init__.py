"""The reward-model family `grm`."""
