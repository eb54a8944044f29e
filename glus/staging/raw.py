"""What every reader hands over: videos, expressions, where their masks lie, and the faults found on the way.

Readers read lists only. Frames and masks are opened by `frames` and `mask_files`, the same for every dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from glus.staging.faults import Fault


@dataclass(frozen=True)
class RawVideo:
    """A video as its dataset lists it; frames are `<root>/<frame_dir>/<name>.jpg`, paths with forward slashes.

    Attributes:
        ambiguous_frames: see `glus.records.video.Video`.
        film: the one video file, relative to the root, that holds the frames instead (own data only); their names are
            known when it is examined.
        files: names of the frames' files where they were found by listing the folder; None: `<name>.jpg`.
    """

    video_id: str
    frame_names: tuple[str, ...]
    frame_dir: str
    ambiguous_frames: tuple[int, ...] = ()
    film: str | None = None
    files: tuple[str, ...] | None = None

    def frame_files(self) -> list[str]:
        """The files of the frames, relative to the root; none of a film."""
        return [f"{self.frame_dir}/{file}" for file in self.files or [f"{name}.jpg" for name in self.frame_names]]


@dataclass(frozen=True)
class RawExpression:
    """A sentence as its dataset lists it."""

    video_id: str
    expression_id: str
    text: str
    object_ids: tuple[str, ...] = ()
    annotation_ids: tuple[str, ...] = ()
    family: str | None = None


@dataclass(frozen=True)
class MaskDict:
    """Masks of a split in one `mask_dict.json`: annotation id -> list of run lengths by position of the frame.

    Attributes:
        file: relative to the root.
        owners: the videos that each annotation is used in.
    """

    file: str
    owners: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, file: str, expressions: list[RawExpression]) -> MaskDict:
        """The masks that the expressions of a split use."""
        owners: dict[str, dict[str, None]] = {}
        for expression in expressions:
            for annotation_id in expression.annotation_ids:
                owners.setdefault(annotation_id, {})[expression.video_id] = None
        return cls(file, {annotation_id: tuple(videos) for annotation_id, videos in owners.items()})


class InstanceFile(MaskDict):
    """Masks of a split in one file of the YouTube-VIS form: `annotations` with an `id` and its `segmentations`."""


@dataclass(frozen=True)
class MaskFolder:
    """Masks of a video as one PNG per frame.

    Attributes:
        folder: relative to the root.
        annotation_id: the one annotation that every non-zero pixel belongs to; None: pixel values are annotation ids.
        sparse: a frame without a file shows no object; otherwise it is a fault.
    """

    video_id: str
    folder: str
    annotation_id: str | None = None
    sparse: bool = False


@dataclass
class RawSplit:
    """A split as listed.

    Attributes:
        file: the list of its expressions, relative to the root.
        release: which of the owners' releases it was taken for; empty where there is only one.
        masks: None where the owners keep them (server splits).
    """

    file: str
    release: str = ""
    videos: list[RawVideo] = field(default_factory=list)
    expressions: list[RawExpression] = field(default_factory=list)
    masks: MaskDict | list[MaskFolder] | None = None
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True)
class Published:
    """Counts that the owners publish for a split; objects are those that its expressions name."""

    videos: int | None = None
    expressions: int | None = None
    objects: int | None = None


class Reader(Protocol):
    """A module that reads one dataset's published layout.

    Attributes:
        TREE: the expected files below the root.
        PUBLISHER: who gives them out.
        PUBLISHED: counts where they are known, by split and, where there are several, release: `valid`, `valid v2`.
    """

    TREE: str
    PUBLISHER: str
    PUBLISHED: dict[str, Published]

    def splits(self, root: Path) -> list[str]:
        """The splits whose lists lie below the root."""

    def load(self, root: Path, split: str) -> RawSplit:
        """Reads the lists of a split.

        Raises:
            MissingError: the dataset or the split is not there.
        """
