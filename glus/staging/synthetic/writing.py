"""The generated set on disk, in MeViS's published layout, with `families.json` beside it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from glus.config import ClipKind, SyntheticConfig
from glus.execution.processes import Pool
from glus.execution.progress import Display, show_bar
from glus.masks import encode_rle
from glus.staging.synthetic.expressions import Sentence, describe
from glus.staging.synthetic.rendering import render
from glus.staging.synthetic.scene import Scene, clip_generator, draw_scene

JPEG_QUALITY = 95
MIN_SEEN = 0.01  # share of the picture that an object must show in some frame to be spoken of

Clip = tuple[ClipKind, int]


@dataclass(frozen=True)
class WrittenClip:
    """What the lists of a split say about one clip; its frames are on disk.

    Attributes:
        tracks: of each object, of each frame, run lengths or None where nothing of it is visible.
    """

    video_id: str
    kind: ClipKind
    grey_frames: tuple[int, ...]
    sentences: list[Sentence]
    tracks: list[list[dict[str, Any] | None]]


def draw_clip(config: SyntheticConfig, split: str, clip: Clip) -> tuple[Scene, list[Sentence], np.ndarray, np.ndarray]:
    """One clip as numbers: scene, sentences, frames uint8 [T, H, W, 3], masks bool [objects, T, H, W]."""
    kind, index = clip
    rng = clip_generator(config, split, kind, index)
    scene = draw_scene(config, split, kind, index, rng)
    sentences = describe(scene, rng, config.appearance_sentences[split], config.other_sentences[split])
    frames, masks = render(scene, config, rng)
    seen = masks.mean(axis=(2, 3)).max(axis=1) >= MIN_SEEN
    return scene, [sentence for sentence in sentences if seen[list(sentence.objects)].all()], frames, masks


def write_split(
    config: SyntheticConfig,
    split: str,
    root: Path,
    pool: Pool | None = None,
    progress: Display = show_bar,
) -> None:
    """Writes `root/<split>`; does nothing where it is already there, and leaves nothing where it is interrupted.

    Args:
        pool: where clips are drawn; None draws them here.
        progress: shows how many clips are drawn.
    """
    target = root / split
    if target.is_dir():
        return
    aside = root / f".{split}"
    shutil.rmtree(aside, ignore_errors=True)
    clips: list[Clip] = [(kind, index) for kind, count in config.clips[split].items() for index in range(count)]
    job = partial(_write_clip, config, split, aside / "JPEGImages")
    written = map(job, clips) if pool is None else pool.map(partial(partial, job), clips)
    shown = progress(written, f"drawing synthetic/{split}", total=len(clips))
    _write_lists(sorted(shown, key=lambda clip: clip.video_id), config.num_frames, aside)
    aside.rename(target)


def _write_clip(config: SyntheticConfig, split: str, images: Path, clip: Clip) -> WrittenClip:
    scene, sentences, frames, masks = draw_clip(config, split, clip)
    folder = images / scene.video_id
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{index:05d}.jpg", quality=JPEG_QUALITY, subsampling=0)
    size = [scene.size_px, scene.size_px]
    tracks = [[{"size": size, "counts": encode_rle(mask)} if mask.any() else None for mask in track] for track in masks]
    return WrittenClip(scene.video_id, scene.kind, scene.grey_frames, sentences, tracks)


def _write_lists(clips: list[WrittenClip], num_frames: int, folder: Path) -> None:
    """`mask_dict.json`, `families.json` and `meta_expressions.json` of a split; annotations are numbered through."""
    frame_names = [f"{index:05d}" for index in range(num_frames)]
    mask_dict: dict[str, list[dict[str, Any] | None]] = {}
    meta: dict[str, Any] = {}
    families: dict[str, Any] = {}
    for number, clip in enumerate(clips):
        first = len(mask_dict)
        mask_dict |= {str(first + index): track for index, track in enumerate(clip.tracks)}
        expressions = {
            str(index): {
                "exp": sentence.text,
                "obj_id": list(sentence.objects),
                "anno_id": [first + item for item in sentence.objects],
            }
            for index, sentence in enumerate(clip.sentences)
        }
        meta[clip.video_id] = {"vid_id": number, "expressions": expressions, "frames": frame_names}
        families[clip.video_id] = {
            "kind": clip.kind,
            "grey_frames": list(clip.grey_frames),
            "expressions": {str(index): sentence.family for index, sentence in enumerate(clip.sentences)},
        }
    for name, content in (
        ("mask_dict", mask_dict),
        ("families", {"videos": families}),
        ("meta_expressions", {"videos": meta}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
