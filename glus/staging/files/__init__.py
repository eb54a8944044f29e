"""The kinds of raw files that datasets share: JSON, expression lists, frames, videos, masks."""
