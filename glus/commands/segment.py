"""`glus segment`: an own video and sentences in, masks and an overlay video out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glus.commands.output import new_folder, refuse_existing
from glus.errors import InputError

if TYPE_CHECKING:
    from glus.media.sources import FrameSource


def segment(
    video: Annotated[Path, typer.Argument(metavar="VIDEO_OR_FRAMES", help="A video file, or a folder of images.")],
    expressions: Annotated[list[str], typer.Option("-e", "--expression", help="What to segment; may be given again.")],
    model: Annotated[Path, typer.Option(help="Folder of the model, e.g. models/glus/final.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; must not exist yet.")],
    selector: Annotated[Path | None, typer.Option(help="Folder of a key-frame selector.")] = None,
    anchor: Annotated[int | None, typer.Option(help="Frame to start from, both ways (counted from 0).")] = None,
    frames: Annotated[str | None, typer.Option(metavar="A:B", help="Only frames A to B, B not included.")] = None,
) -> None:
    """Segment what sentences describe in a video: PNG masks, an overlay video and result.json."""
    refuse_existing(output)
    if selector is not None and anchor is not None:
        raise InputError("--selector and --anchor exclude each other: both say where to start.")
    from glus.media.sources import open_frames

    clip, first = _cut(open_frames(video), frames)
    if anchor is not None and not first <= anchor < first + len(clip):
        raise InputError(f"--anchor {anchor}: the frames are {first} to {first + len(clip) - 1}.")
    result = _segment(clip, expressions, model, selector, None if anchor is None else anchor - first)
    with new_folder(output) as folder:
        _write(folder, clip, first, expressions, result)
    typer.echo(f"{len(expressions)} x {len(clip)} masks and overlay.mp4 are in {output}")


def _cut(frames: FrameSource, span: str | None) -> tuple[FrameSource, int]:
    """The frames of `A:B` and the number of the first."""
    if span is None:
        return frames, 0
    first, colon, end = span.partition(":")
    if not colon or not all(part == "" or part.isdecimal() for part in (first, end)):
        raise InputError(f"--frames {span}: expected A:B, e.g. 10:50.")
    start, stop = int(first or 0), min(int(end or len(frames)), len(frames))
    if start >= stop:
        raise InputError(f"--frames {span} holds no frame; the video has {len(frames)}.")
    return frames[start:stop], start


def _segment(clip: FrameSource, expressions: list[str], model: Path, selector: Path | None, anchor: int | None) -> Any:
    for folder in filter(None, (model, selector)):
        if not folder.is_dir():
            raise InputError(f"{folder} does not exist; a folder with a model is expected.")
    import torch

    from glus import GLUS, KeyFrameSelector, segment_video

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = "bfloat16" if device == "cuda" else "float32"
    chooser = KeyFrameSelector.from_pretrained(selector, device=device) if selector else None
    glus = GLUS.from_pretrained(model, dtype=dtype, device=device)
    return segment_video(glus, clip, expressions, selector=chooser, anchor=anchor)


def _write(folder: Path, clip: FrameSource, first: int, expressions: list[str], result: Any) -> None:
    import numpy as np

    from glus.files import write_json
    from glus.masks import write_mask_png
    from glus.reporting import write_overlay_video

    masks = np.asarray(result.masks)
    rows = []
    for number, expression in enumerate(expressions):
        for index, mask in enumerate(masks[number], start=first):
            write_mask_png(mask, folder / "masks" / f"{number:02d}" / f"{index:05d}.png")
        rows.append(
            {
                "expression": expression,
                "masks": f"masks/{number:02d}",
                "first_frame": first,
                "num_frames": len(clip),
                "key_frame": int(result.key_frame_index[number]) + first,
                "seg_token_generated": [bool(value) for value in result.seg_token_generated[number]],
                "area_px": [int(mask.sum()) for mask in masks[number]],
            }
        )
    overlay = folder / "overlay.mp4"
    write_overlay_video(clip, masks, expressions, overlay, times_s=clip.times_s, end_s=clip.end_s)
    width, height = clip.size
    video = {
        "video": clip.name,
        "width_px": width,
        "height_px": height,
        "frame_names": list(clip.frame_names),
        "times_s": None if clip.times_s is None else list(clip.times_s),
    }
    write_json({**video, "expressions": rows}, folder / "result.json")
