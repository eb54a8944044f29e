"""Prefect: when and where the steps run, and what people watch. Imports the steps' names, never torch."""
