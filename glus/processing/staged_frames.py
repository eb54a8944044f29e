"""The frames of a staged video, which staging has examined."""

from __future__ import annotations

from glus.media.pictures import read_frame
from glus.media.sources import FrameSource
from glus.records.split import StagedSplit, Video


def staged_frames(split: StagedSplit, video: Video) -> FrameSource:
    """The frames of a video, each read when it is asked for."""
    return FrameSource(
        name=f"{split.dataset}/{split.split}, video {video.video_id}",
        path=split.frames_root / video.frame_dir,
        size=(video.width_px, video.height_px),
        frame_names=video.frame_names,
        indices=range(video.num_frames),
        read=lambda index: read_frame(split.frame_path(video, index)),
    )
