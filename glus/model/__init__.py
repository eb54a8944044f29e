"""GLUS itself: tensors in, tensors out."""
