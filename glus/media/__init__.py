"""Folders, pictures and films as the frames that a viewer shows: one reader for staging, `glus segment` and Python."""
