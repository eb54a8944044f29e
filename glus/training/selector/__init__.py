"""Samples, labels and losses of the key-frame selector."""
