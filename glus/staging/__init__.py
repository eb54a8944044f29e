"""Readers of the published layouts, the generated set, and the checks of both."""
