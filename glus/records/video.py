"""What a staged split lists: videos and the sentences about them."""

from __future__ import annotations

from dataclasses import dataclass

Key = tuple[str, str]  # of an expression: video id, expression id


@dataclass(frozen=True)
class Video:
    """One video: its frames are `<frames root>/<frame_dir>/<name>.jpg` in the order of `frame_names`.

    Attributes:
        ambiguous_frames: frames in which what an expression means cannot be told from another object (column
            `grey_frames`); empty where the set does not say.
    """

    video_id: str
    num_frames: int
    height_px: int
    width_px: int
    frame_names: tuple[str, ...]
    frame_dir: str
    ambiguous_frames: tuple[int, ...]


@dataclass(frozen=True)
class Expression:
    """One sentence about one video and the annotations whose union it refers to.

    Attributes:
        family: a label by which results are grouped, where the set has such.
    """

    video_id: str
    expression_id: str
    text: str
    object_ids: tuple[str, ...]
    annotation_ids: tuple[str, ...]
    family: str | None
