"""The reward-model family `lerobot`."""
