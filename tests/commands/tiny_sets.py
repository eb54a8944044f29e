"""Tiny datasets in their published layouts, and masks that answer them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from glus.masks import encode_rle
from glus.records.tables import write_table

HEIGHT, WIDTH = 24, 32
FRAMES = ("00000", "00005", "00010")


def box(top: int, left: int, side: int = 6) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


# Far enough apart for boundaries not to match: J = F = 0 between them.
OBJECTS = {"1": box(2, 2), "2": box(14, 20)}
EMPTY = box(0, 0, 0)


def write_png(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_frames(folder: Path) -> None:
    for name in FRAMES:
        write_png(np.zeros((HEIGHT, WIDTH, 3), np.uint8), folder / f"{name}.jpg")


def write_json(value: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def rle(mask: np.ndarray) -> dict[str, Any]:
    return {"size": [HEIGHT, WIDTH], "counts": encode_rle(mask)}


def write_mevis(root: Path, kinds: dict[str, int] | None = None) -> None:
    """Two videos; expression 0 is about object 1, expression 1 about object 2 and expression 2 about both."""
    targets = {"0": [1], "1": [2], "2": [1, 2]}
    expressions = {
        name: {"exp": f"number {name}", "obj_id": ids, "anno_id": ids} | ({"type_id": kinds[name]} if kinds else {})
        for name, ids in targets.items()
    }
    videos = {name: {"expressions": expressions, "frames": list(FRAMES)} for name in ("a", "b")}
    masks = {name: [rle(mask)] * len(FRAMES) for name, mask in OBJECTS.items()}
    folder, meta = (root, "meta_expressions_valid_.json") if kinds else (root / "valid_u", "meta_expressions.json")
    write_json({"videos": videos}, folder / meta)
    write_json(masks, folder / "mask_dict.json")
    for video in videos:
        write_frames(folder / "JPEGImages" / video)


ANSWERS = {
    **{("a", name): OBJECTS["1"] for name in "012"},
    ("b", "0"): EMPTY,
    ("b", "1"): OBJECTS["2"],
    ("b", "2"): OBJECTS["1"] | OBJECTS["2"],
}
# J = F of the six expressions: 1, 0, 1/2 and 2/3 (precision 1, recall 1/2); 0, 1, 1
J, F = 100 * 3.5 / 6, 100 * (3 + 2 / 3) / 6


def write_parquet(source: Path, answers: dict[tuple[str, str], np.ndarray], num_frames: int = len(FRAMES)) -> None:
    """The same masks in every frame, as a table of predictions."""
    rows = [
        {"dataset": "mevis", "split": "valid_u", "video_id": video, "expression_id": name, "frame_index": index}
        | {
            "height_px": HEIGHT,
            "width_px": WIDTH,
            "rle_counts": encode_rle(mask),
            "seg_token_generated": True,
            "mean_logit": 1.0,
        }
        for (video, name), mask in answers.items()
        for index in range(num_frames)
    ]
    write_table("predictions", rows, source)


def write_masks(folder: Path, answers: dict[tuple[str, str], np.ndarray], value: int = 255) -> None:
    for (video, expression), mask in answers.items():
        for name in FRAMES:
            write_png(mask.astype(np.uint8) * value, folder / video / expression / f"{name}.png")
