"""The parts of `reward_accuracy.py`: what is judged on, who is judged, how it is measured and shown."""
