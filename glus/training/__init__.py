"""The training loop and what it minimises; shared by GLUS and the selector."""
