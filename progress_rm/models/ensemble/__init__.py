"""The reward-model family `ensemble`."""
