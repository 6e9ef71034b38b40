"""The forms in which stage annotations are stored: one module each."""
