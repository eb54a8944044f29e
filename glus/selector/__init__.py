"""The key-frame selector: which frame shows best what an expression means (paper 4.4, B.4)."""
