"""One video, many expressions: windows, memory, propagation from key frames."""

from glus.inference.video import SegmentationResult, segment_video

__all__ = ["SegmentationResult", "segment_video"]
