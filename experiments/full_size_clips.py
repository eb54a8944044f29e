"""Some real clips cut short, in the layouts that MeViS and Refer-YouTube-VOS are published in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MEVIS = {"train": ("coffee", "bike"), "valid_u": ("bedroom",)}
REFER_YOUTUBE_VOS = {"train": ("bike",), "valid": ("bedroom",)}
NUM_FRAMES, NUM_SENTENCES = 8, 1  # of each clip: its first


def write_clips(source: Path, target: Path) -> None:
    """Writes `mevis/` and `refer_youtube_vos/` below a folder from `realclips`; what is there stays."""
    if target.exists():
        return
    aside = target.with_name(f".{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    for split, names in MEVIS.items():
        _write_mevis(source / "mevis" / split, aside / "mevis" / split, names)
    for split, names in REFER_YOUTUBE_VOS.items():
        _write_refer_youtube_vos(source / "Refer-YouTube-VOS", aside / "refer_youtube_vos", split, names)
    aside.rename(target)


def _write_mevis(source: Path, target: Path, names: Iterable[str]) -> None:
    videos = _cut(_read(source / "meta_expressions.json")["videos"], names)
    used = {
        str(number) for video in videos.values() for item in video["expressions"].values() for number in item["anno_id"]
    }
    masks = {number: mask[:NUM_FRAMES] for number, mask in _read(source / "mask_dict.json").items() if number in used}
    _copy_frames(source / "JPEGImages", target / "JPEGImages", videos)
    _write({"videos": videos}, target / "meta_expressions.json")
    _write(masks, target / "mask_dict.json")


def _write_refer_youtube_vos(source: Path, target: Path, split: str, names: Iterable[str]) -> None:
    meta = Path("meta_expressions") / split / "meta_expressions.json"
    videos = _cut(_read(source / meta)["videos"], names)
    for folder in ("JPEGImages", "Annotations"):
        if (source / split / folder).is_dir():
            _copy_frames(source / split / folder, target / split / folder, videos)
    if (objects := source / split / "meta.json").is_file():
        listed = _read(objects)["videos"]
        kept = {name: listed[name] for name in videos}
        for name, video in kept.items():
            for item in video["objects"].values():
                item["frames"] = [frame for frame in item["frames"] if frame in videos[name]["frames"]]
        _write({"videos": kept}, target / split / "meta.json")
    _write({"videos": videos}, target / meta)


def _cut(videos: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Some of the videos, with their first frames and sentences."""
    return {
        name: {
            **videos[name],
            "frames": videos[name]["frames"][:NUM_FRAMES],
            "expressions": dict(list(videos[name]["expressions"].items())[:NUM_SENTENCES]),
        }
        for name in names
    }


def _copy_frames(source: Path, target: Path, videos: Mapping[str, Any]) -> None:
    for name, video in videos.items():
        (target / name).mkdir(parents=True)
        for file in (source / name).iterdir():
            if file.stem in video["frames"]:
                shutil.copy(file, target / name)


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def _write(content: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
