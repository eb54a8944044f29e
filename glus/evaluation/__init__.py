"""Scores of folders and artifacts: predictions and truth read, exports and submissions written. No torch."""
