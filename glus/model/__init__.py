"""GLUS itself: tensors in, tensors out."""

from glus.model.glus import GLUS

__all__ = ["GLUS"]
