"""The generated set: textured scenes of moving shapes and sentences about them, in MeViS's published layout."""

from glus.staging.synthetic.writing import draw_clip, write_split

__all__ = ["draw_clip", "write_split"]
