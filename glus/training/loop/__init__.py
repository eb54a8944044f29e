"""The training loop, shared by GLUS and the selector."""
