"""What predictions are scored against: a staged split, or a dataset as its owners publish it, examined first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glus.errors import InputError, name_some
from glus.evaluation.lmms_layout import RELEASE, find_tables, read_lmms_split
from glus.evaluation.submission import has_server
from glus.manifest import MANIFEST, read_manifest, verify_files
from glus.records.split import StagedSplit
from glus.records.video import Expression, Video
from glus.staging.checks import ExaminedSplit, examine, worker_pool
from glus.staging.faults import errors
from glus.staging.files.mask_files import Row
from glus.staging.files.paths import LinkedRoot
from glus.staging.videos import Depth

SCORES = Depth(pixels=False)  # of a frame no more than its size enters a score
LABEL_MAPS = Depth(pixels=False, masks=False)  # label maps are read, and checked, where they are scored
Tracks = dict[str, dict[str, dict[int, str]]]  # video id -> annotation id -> frame index -> run lengths


@dataclass(frozen=True)
class PublishedTruth:
    """A split read from its published layout.

    Attributes:
        root: the dataset's folder.
        release: which of the dataset's releases it is, where there are several.
        tracks: the masks.
        label_maps: video id -> folder of PNG files whose values are objects, where the dataset has such.
    """

    dataset: str
    split: str
    root: Path
    release: str
    videos: dict[str, Video]
    expressions: dict[str, list[Expression]]
    tracks: Tracks
    label_maps: dict[str, Path]

    @property
    def has_masks(self) -> bool:
        """Whether it comes with ground truth."""
        return bool(self.tracks or self.label_maps)

    def frame_path(self, video: Video, index: int) -> Path:
        """Path of one frame."""
        return self.root / video.frame_dir / f"{video.frame_names[index]}.jpg"

    def mask_rles(self, video_id: str) -> dict[str, dict[int, str]]:
        """Annotation id -> frame index -> run lengths."""
        return self.tracks.get(video_id, {})


def release_of(truth: StagedSplit | PublishedTruth) -> str:
    """Which of its dataset's releases a split belongs to."""
    return truth.release if isinstance(truth, PublishedTruth) else read_manifest(truth.directory).extra["release"]


def open_ground_truth(
    dataset: str, root: Path, split: str, workers: int, links: Sequence[Path], depth: Depth = SCORES
) -> StagedSplit | PublishedTruth:
    """Opens a split that comes with masks. Arguments and errors as `open_split`, and an error if it has none."""
    truth = open_split(dataset, root, split, workers, links, depth)
    if not truth.has_masks:
        elsewhere = "its owners' server does that. `glus export submission` writes the zip for it."
        remedy = elsewhere if has_server(dataset, split) else "put its masks beside its frames, as its layout has them."
        raise InputError(f"{dataset}/{split} comes without masks, so it cannot be scored here; {remedy}")
    return truth


def open_split(
    dataset: str, root: Path, split: str, workers: int, links: Sequence[Path] = (), depth: Depth = SCORES
) -> StagedSplit | PublishedTruth:
    """Opens a split below `root`: staged (`<root>/<dataset>/<split>`), or as published, which is examined first.

    What lmms-eval has packed again (`glus.evaluation.lmms_layout`) is told by its files.

    Args:
        workers: processes to examine with.
        links: folders that symbolic links of the dataset may lead into.
        depth: how much of the published files is read.

    Raises:
        InputError: it is not there, or it has faults; names them.
        ArtifactError: it is staged, and a table is not the one that its manifest lists.
    """
    staged = root / dataset / split
    if (staged / MANIFEST).is_file():
        manifest = read_manifest(staged)
        verify_files(staged, manifest)
        return StagedSplit(staged, Path(manifest.extra["frames_root"]))
    if tables := find_tables(root, split):
        linked = LinkedRoot.of(root, links)
        found = read_lmms_split(linked, tables)
        return PublishedTruth(
            dataset, split, linked, RELEASE, found.videos, found.expressions, found.tracks, label_maps={}
        )
    return _open_raw(dataset, root, split, workers, links, depth)


def _open_raw(
    dataset: str, root: Path, split: str, workers: int, links: Sequence[Path], depth: Depth
) -> PublishedTruth:
    tracks: Tracks = {}

    def keep(video_id: str, rows: list[Row]) -> None:
        for row in rows:
            of_annotation = tracks.setdefault(video_id, {}).setdefault(row["annotation_id"], {})
            of_annotation[row["frame_index"]] = row["rle_counts"]

    with worker_pool(workers) as pool:
        examined = examine(dataset, LinkedRoot.of(root, links), split, pool, keep=keep, depth=depth)
    faults = errors(examined.faults)
    if faults:
        raise InputError(
            f"{root}: {dataset}/{split} has {len(faults)} errors, so that nothing can be matched with it:"
            f" {name_some([str(fault).rstrip('.') for fault in faults])}. `glus check` lists all of them."
        )
    return PublishedTruth(
        dataset,
        split,
        root,
        examined.raw.release,
        _videos(examined),
        _expressions(examined),
        tracks,
        _label_maps(root, examined),
    )


def _videos(examined: ExaminedSplit) -> dict[str, Video]:
    return {
        video.video_id: Video(
            video.video_id,
            len(video.frame_names),
            *examined.sizes[video.video_id],
            video.frame_names,
            video.frame_dir,
            video.ambiguous_frames,
        )
        for video in examined.raw.videos
    }


def _expressions(examined: ExaminedSplit) -> dict[str, list[Expression]]:
    grouped: dict[str, list[Expression]] = {video.video_id: [] for video in examined.raw.videos}
    for item in examined.raw.expressions:
        grouped[item.video_id].append(
            Expression(item.video_id, item.expression_id, item.text, item.object_ids, item.annotation_ids, item.family)
        )
    return grouped


def _label_maps(root: Path, examined: ExaminedSplit) -> dict[str, Path]:
    masks = examined.raw.masks
    folders = masks if isinstance(masks, list) else []
    return {item.video_id: root / item.folder for item in folders if item.annotation_id is None}
