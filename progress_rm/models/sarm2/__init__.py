"""The reward-model family `sarm2`."""
