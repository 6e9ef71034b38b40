"""Acting on learned progress: behaviour cloning, reinforcement learning, running policies on robots."""
