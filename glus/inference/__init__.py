"""One video, many sentences: windows, memory, propagation from key frames, frame after frame."""

from glus.inference.session import SegmentedFrame, VideoSession
from glus.inference.video import SegmentationResult, segment_video

__all__ = ["SegmentationResult", "SegmentedFrame", "VideoSession", "segment_video"]
