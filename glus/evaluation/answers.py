"""Predicted masks in files, ours or another model's: found and matched with what is expected before any is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from glus.errors import InputError, name_some
from glus.evaluation.predictions import read_tracks
from glus.manifest import verify_where_listed
from glus.masks import decode_rle, read_index_png
from glus.metrics.pixel_spans import label_spans, mask_spans
from glus.metrics.scoring import Track
from glus.metrics.spans import NOTHING, Clip, FrameSpans, Spans
from glus.records.ground_truth import GroundTruth
from glus.records.video import Expression, Key, Video

PARQUET = "predictions.parquet"


@dataclass(frozen=True)
class PngTrack:
    """One PNG file per frame.

    Attributes:
        folder: that holds them.
        files: frame index -> name of its file.
    """

    folder: Path
    files: Mapping[int, str]

    def read_mask(self, index: int, video: Video) -> np.ndarray:
        """The mask of one frame, bool [H, W].

        Raises:
            InputError: an unreadable file, a colour picture, another size or other values; names the file.
        """
        pixels = self._read(index, video)
        self._check_values(index, np.unique(pixels))
        return pixels != 0

    def read_masks(self, video: Video) -> FrameSpans:
        """The pixels of all files, whose values are 0 and 1, or 0 and 255. Raises as `read_mask`."""
        clip = clip_of(video)
        tracks = [NOTHING]
        for index in sorted(self.files):
            spans, values = mask_spans(self._read(index, video), index, clip)
            self._check_values(index, values)
            tracks.append(spans)
        spans = Spans(np.concatenate([track.starts for track in tracks]), np.concatenate([t.ends for t in tracks]))
        return FrameSpans(spans, frozenset(self.files))

    def read_labels(self, video: Video, down_columns: bool) -> dict[int, Spans]:
        """The pixels of each label but 0. Raises as `read_mask`, but for values.

        Args:
            down_columns: whether spans go along columns, as those of run lengths do, or along rows, which is faster.
        """
        clip = clip_of(video)
        pictures = ((index, self._read(index, video)) for index in sorted(self.files))
        if down_columns:
            pictures = ((index, np.ascontiguousarray(pixels.T)) for index, pixels in pictures)
        return label_spans(pictures, clip)

    def _read(self, index: int, video: Video) -> np.ndarray:
        return _read_png(self.folder / self.files[index], video)

    def _check_values(self, index: int, values: np.ndarray) -> None:
        others = values[values > 0]
        if len(others) > 1 or not np.isin(others, (1, 255)).all():
            found = ", ".join(map(str, values[:6].tolist()))
            path = self.folder / self.files[index]
            raise InputError(f"{path} holds the values {found}; a mask holds 0 and 1, or 0 and 255.")


def _read_png(path: Path, video: Video) -> np.ndarray:
    try:
        pixels = read_index_png(path)
    except InputError as error:
        raise InputError(f"{error}. Nothing was scored.") from error
    if pixels.shape != (video.height_px, video.width_px):
        raise InputError(
            f"{path} is {pixels.shape[0]} x {pixels.shape[1]} pixels, its video {video.video_id} is"
            f" {video.height_px} x {video.width_px}; save masks at the size of the frames."
        )
    return pixels


def clip_of(video: Video) -> Clip:
    """The line of pixels that a video's tracks are stretches of."""
    return Clip(video.num_frames, video.height_px, video.width_px)


def read_files(track: Track | PngTrack, video: Video) -> Track | FrameSpans:
    """A track that can be scored, read from its files where it has such. Raises as `PngTrack.read_mask`."""
    return track.read_masks(video) if isinstance(track, PngTrack) else track


def decode_masks(track: Track | PngTrack, video: Video) -> Iterator[tuple[int, np.ndarray]]:
    """The masks of a track in the order of its frames: frame index and bool [H, W].

    Raises:
        InputError: a mask cannot be used; names it.
    """
    if isinstance(track, PngTrack):
        yield from ((index, track.read_mask(index, video)) for index in sorted(track.files))
        return
    for index, counts in sorted(track.items()):
        try:
            yield index, decode_rle(counts, video.height_px, video.width_px)
        except InputError as error:
            raise InputError(f"A mask of video {video.video_id}, frame {index} cannot be used: {error}.") from error


@dataclass
class Answers:
    """What was found of a split's predictions.

    Attributes:
        tracks: by (video id, expression id), or (video id, folder of an annotator) for label maps.
        notes: files that are not scored.
    """

    tracks: dict[Key, Track | PngTrack]
    notes: list[str] = field(default_factory=list)

    def frames(self) -> dict[Key, set[int]]:
        """The frames that are predicted."""
        return {key: set(track.files if isinstance(track, PngTrack) else track) for key, track in self.tracks.items()}


def find_answers(source: Path, truth: GroundTruth) -> Answers:
    """Finds the masks of expressions: our table, or `<video>/<expression>/<frame>.png`.

    ReasonVOS's own `<source>_<video>_<object>/<expression>/<frame>.png` is known too.

    Raises:
        InputError: there is nothing, or something that belongs to no expression of the split; names it.
        ArtifactError: our table is not the one that the manifest beside it lists.
    """
    table = source / PARQUET if source.is_dir() else source
    if table.is_file():
        if beside := [name for name in truth.videos if source.is_dir() and (source / name).is_dir()]:
            raise InputError(f"{source} holds {PARQUET} and folders of masks, such as {beside[0]}; keep one.")
        verify_where_listed(table.parent)
        tracks = read_tracks(table, truth.videos)
        if not tracks:
            raise InputError(f"{table} holds no masks of {truth.dataset}/{truth.split}.")
        _refuse_unknown(table, truth, [place for key, track in tracks.items() for place in _unknown(truth, key, track)])
        return Answers(dict(tracks))
    tree = _scan(source)
    places: dict[str, Key] = {}
    for video_id, expressions in truth.expressions.items():
        for expression in expressions:
            key = (video_id, expression.expression_id)
            places[f"{video_id}/{expression.expression_id}"] = key
            if truth.dataset == "reasonvos":
                places |= dict.fromkeys(_reasonvos_folders(tree, expression), key)
    return _match(source, tree, places, truth, "<video>/<expression>/<frame>.png")


def find_label_maps(source: Path, truth: GroundTruth, annotators: tuple[str, ...]) -> Answers:
    """Finds label maps: `<annotator>/<video>/<frame>.png`, or `<video>/<frame>.png` for the one annotator "".

    Raises:
        InputError: there is nothing, or a folder that belongs to no video of the split; names it.
    """
    places = {f"{name}/{video}".lstrip("/"): (video, name) for name in annotators for video in truth.videos}
    layout = "anno_0..3/<video>/<frame>.png" if len(annotators) > 1 else "<video>/<frame>.png"
    return _match(source, _scan(source), places, truth, layout)


def _unknown(truth: GroundTruth, key: Key, track: Track) -> Iterator[str]:
    """What a table holds of an expression and the split does not."""
    video_id, name = key
    place = f"video {video_id}, expression {name}"
    if all(item.expression_id != name for item in truth.expressions.get(video_id, ())):
        yield place
    else:
        num_frames = truth.videos[video_id].num_frames
        yield from (f"{place}, frame {index}" for index in track if not 0 <= index < num_frames)


def _reasonvos_folders(tree: Mapping[str, list[str]], expression: Expression) -> list[str]:
    """Folders `<source>_<video>_<object>/<expression>`; our expression ids are `<object>_<expression>`."""
    object_id = expression.object_ids[0]
    ending = f"_{expression.video_id}_{object_id}/{expression.expression_id.removeprefix(f'{object_id}_')}"
    return [folder for folder in tree if folder.endswith(ending) and "_" not in folder.removesuffix(ending)]


def _scan(source: Path) -> dict[str, list[str]]:
    """The files of each folder below a tree that holds files, by path."""
    if not source.is_dir():
        raise InputError(f"{source} does not exist; a folder of masks, or our {PARQUET}, is expected.")
    return {
        Path(folder).relative_to(source).as_posix(): sorted(files)
        for folder, _, files in sorted(os.walk(source))
        if files
    }


def _match(
    source: Path, tree: Mapping[str, list[str]], places: Mapping[str, Key], truth: GroundTruth, layout: str
) -> Answers:
    """Gives each folder of a tree to what it answers."""
    answers = Answers({})
    unknown, not_scored = [], []
    for folder, files in tree.items():
        masks = {file: Path(file).with_suffix(".png").name for file in files if file.lower().endswith(".png")}
        not_scored += [f"{folder}/{file}" for file in files if file not in masks]
        key = places.get(folder)
        if key is None:
            unknown += [folder] if masks else []
            continue
        if key in answers.tracks:
            raise InputError(
                f"{source}: video {key[0]}, expression {key[1]} has masks in two folders, one is {folder}."
            )
        indices = {f"{name}.png": index for index, name in enumerate(truth.videos[key[0]].frame_names)}
        listed = {file: indices[frame] for file, frame in masks.items() if frame in indices}
        if len(set(listed.values())) < len(listed):
            raise InputError(f"{source / folder} holds a frame as .png and as .PNG; keep one of the two.")
        answers.tracks[key] = PngTrack(source / folder, {index: file for file, index in listed.items()})
        not_scored += [f"{folder}/{file}" for file in masks if file not in listed]
    _refuse_unknown(source, truth, unknown, f" (expected: {layout})")
    if not answers.tracks:
        raise InputError(f"{source} holds no masks of {truth.dataset}/{truth.split}; expected: {layout}.")
    if not_scored:
        answers.notes.append(
            f"{len(not_scored)} files are not scored, since nothing lists them: {name_some(not_scored)}"
        )
    return answers


def _refuse_unknown(source: Path, truth: GroundTruth, unknown: list[str], layout: str = "") -> None:
    if unknown:
        raise InputError(
            f"{source}: {len(unknown)} of its entries belong to nothing in {truth.dataset}/{truth.split}{layout}:"
            f" {name_some(unknown)}. Remove them, or name the dataset and split that they answer."
        )
