"""Videos one after the other: each resumed where it stopped, segmented frame after frame, written out and sealed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from glus.errors import GlusError, InputError, name_some
from glus.execution.progress import show_progress
from glus.inference.passes import PropagationSettings
from glus.inference.session import VideoSession
from glus.manifest import write_manifest
from glus.media.sources import FrameSource, open_frames
from glus.publishing import sync
from glus.records.tables import write_row_groups
from glus.segmenting.clips import cut, key_frame_place
from glus.segmenting.finished import UNFINISHED, finished, identity, require_free_or_own, require_same
from glus.segmenting.jobs import Job
from glus.segmenting.models import Models
from glus.segmenting.outputs import MASKS, OVERLAY, FinishedVideo, write_forms, write_overlay, write_summary
from glus.segmenting.pieces import Pieces
from glus.segmenting.requests import Format, SegmentRequest
from glus.segmenting.rows import AskedRow, found_masks
from glus.segmenting.stopping import Stop, plain_failures

logger = logging.getLogger(__name__)


def run_jobs(jobs: Sequence[Job], request: SegmentRequest) -> Iterator[str]:
    """Segments videos; yields what to say of each. One that cannot be read does not keep the others from their masks.

    Raises:
        InputError: a folder that something else made, or a model that cannot be used; at the end, videos with faults.
        GlusError: interrupted, a full disk, or too little memory; finished frames are kept.
    """
    for job in jobs:
        require_free_or_own(job.output)
    models, faults = Models(request), []
    for job in jobs:
        try:
            clip = cut(open_frames(job.video), request)
            key_frame = key_frame_place(clip, request)
        except InputError as fault:
            if len(jobs) == 1:
                raise
            faults.append(str(fault).rstrip("."))
            continue
        for warning in clip.warnings:
            logger.warning("%s", warning)
        with plain_failures(job), closing(Pieces(job.output / UNFINISHED)) as pieces:
            yield _run(job, clip, key_frame, request, models, pieces)
    if faults:
        raise InputError(f"{len(faults)} of {len(jobs)} videos could not be read: {name_some(faults)}.")


def _run(
    job: Job, clip: FrameSource, key_frame: int | None, request: SegmentRequest, models: Models, pieces: Pieces
) -> str:
    """One video; says what is there now."""
    models.require()
    who = identity(job, request, models.compute)
    manifest = finished(job.output)
    said = f"{len(job.sentences)} x {len(clip)} masks and {OVERLAY} are in {job.output}"
    if manifest is not None:
        require_same(job.output, {"parameters": manifest.parameters, "inputs": manifest.inputs}, who)
        pieces.remove()
        forms, key_frames = tuple(map(Format, manifest.extra["formats"])), manifest.extra["key_frames"]
        missing = tuple(form for form in request.formats if form not in forms)
        if not missing:
            return f"{said} already"
    else:
        forms, missing = (Format.PARQUET,), request.formats
        key_frames = _segment(job, clip, key_frame, who, pieces, models)
    result = FinishedVideo(job.output, clip, job.sentences, key_frames)
    if manifest is None:
        for leftover in filter(Path.is_file, job.output.glob(".*")):  # of a process that was killed while it wrote
            leftover.unlink()
        write_row_groups("segmented", pieces.in_order(), job.output / MASKS)
        write_overlay(result)
    write_forms(result, missing)
    forms = tuple(form for form in Format if form in (*forms, *missing))
    write_summary(result, forms)
    extra = {"formats": list(forms), "key_frames": key_frames}
    write_manifest(job.output, step="segment", **who, extra=extra, without=UNFINISHED)
    sync(job.output)
    pieces.remove()
    return said


def _segment(
    job: Job, clip: FrameSource, key_frame: int | None, who: dict[str, Any], pieces: Pieces, models: Models
) -> list[int]:
    """All masks into pieces, from where an earlier process stopped; returns the place of each key frame."""
    facts = [field.name for field in fields(_Starts)]
    before = pieces.job(facts)
    if before is not None:
        require_same(job.output, before, who)
        starts = _Starts(**{fact: before[fact] for fact in facts})
    else:
        starts = _find_starts(job, clip, key_frame, models)
    key_frames = starts.key_frames
    stride, multimask = who["parameters"]["window_stride"], models.glus.settings.dynamic_multimask
    session = VideoSession(models.glus, clip, PropagationSettings(dynamic_multimask=multimask, window_stride=stride))
    for sentence, start in zip(job.sentences, key_frames, strict=True):
        session.add(sentence, key_frame=start)
    scores = starts.selector_scores
    asked = [
        AskedRow(number, sentence, key_frames[number], None if scores is None else scores[number])
        for number, sentence in enumerate(job.sentences)
    ]
    done = pieces.restore(session)
    total = len(clip) - min(key_frames) + max(key_frames)  # both ways, each frame once for the sentences that pass it
    with Stop() as stop:
        for count, frame in enumerate(
            show_progress(session, str(job.video), total=total, done=done, unit="frames"), done
        ):
            if count == 0:
                pieces.begin({**who, **asdict(starts)})
            due = pieces.add([asked[number].of(clip, frame.index, found) for number, found in found_masks(frame)])
            if due or stop.asked:
                pieces.save(session, count + 1)
            if stop.asked and count + 1 < total:
                raise GlusError(
                    f"Interrupted: {count + 1} of {total} frames of {job.video} are finished and kept in {job.output};"
                    " the same command goes on from there."
                )
        pieces.save(session, total)
    return key_frames


@dataclass(frozen=True)
class _Starts:
    """Where sentences start.

    Attributes:
        key_frames: of each, a place in the clip.
        selector_scores: of each, what the selector gives each frame; None without a selector.
    """

    key_frames: list[int]
    selector_scores: list[list[float]] | None


def _find_starts(job: Job, clip: FrameSource, key_frame: int | None, models: Models) -> _Starts:
    """As asked for, as the selector says, or at the beginning."""
    if models.selector is not None:
        scores = models.selector.score(clip, list(job.sentences))
        return _Starts(scores.argmax(dim=1).tolist(), scores.tolist())
    return _Starts([key_frame or 0] * len(job.sentences), None)
