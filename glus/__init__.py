"""GLUS: referring video object segmentation with one multimodal language model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glus.api import GLUS, KeyFrameSelector
    from glus.inference import segment_video

__all__ = ["GLUS", "KeyFrameSelector", "segment_video"]

_HOMES = {"GLUS": "glus.api", "KeyFrameSelector": "glus.api", "segment_video": "glus.inference"}


def __getattr__(name: str) -> Any:
    """Imports torch and its company only when one of the public names is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'glus' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
