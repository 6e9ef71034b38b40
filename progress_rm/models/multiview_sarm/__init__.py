"""The reward-model family `multiview_sarm`."""
