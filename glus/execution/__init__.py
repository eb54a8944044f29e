"""Processes, devices and progress of one machine."""
