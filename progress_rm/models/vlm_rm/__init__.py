"""The reward-model family `vlm_rm`."""
