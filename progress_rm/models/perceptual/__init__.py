"""The reward-model family `perceptual`."""
