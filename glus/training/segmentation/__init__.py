"""Samples, losses and phases of GLUS."""
