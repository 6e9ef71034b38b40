"""The reward-model family `clock`."""
