"""The generated set: MeViS's layout, with `families.json` beside the lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from glus.staging.files.json_files import entries, read_json
from glus.staging.raw import Published, RawSplit
from glus.staging.readers import mevis

TREE = mevis.TREE
PUBLISHER = "nobody: `glus stage` draws it"
PUBLISHED: dict[str, Published] = {}
splits = mevis.splits


def load(root: Path, split: str) -> RawSplit:
    """Reads the lists of a split, with what the set knows about its clips: grey frames, families of expressions.

    Raises:
        MissingError: the split was not drawn.
    """
    raw = replace(mevis.load(root, split), release="")
    content = read_json(root, f"{split}/families.json", raw.faults)
    notes = entries(entries(content).get("videos"))
    raw.videos = [
        replace(video, ambiguous_frames=_ambiguous_frames(entries(notes.get(video.video_id)))) for video in raw.videos
    ]
    raw.expressions = [
        replace(item, family=entries(_of(notes, item.video_id, "expressions")).get(item.expression_id))
        for item in raw.expressions
    ]
    return raw


def _ambiguous_frames(note: dict[str, Any]) -> tuple[int, ...]:
    """The grey frames, but of a clip whose objects stay where they were glimpsed: frames from elsewhere tell there."""
    return () if note.get("kind") == "glimpsed" else tuple(note.get("grey_frames") or ())


def _of(notes: dict[str, Any], video_id: str, key: str) -> Any:
    return entries(notes.get(video_id)).get(key)
