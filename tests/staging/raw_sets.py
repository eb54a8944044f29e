"""Small datasets in published layouts, and short ways to look at them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from glus.masks import encode_rle
from glus.records.split import StagedSplit
from glus.staging.checks import check_dataset, examine
from glus.staging.faults import Fault
from glus.staging.spool import MaskSpool
from glus.staging.tables import write_tables

HEIGHT, WIDTH = 32, 48
FRAMES = ["00000", "00005", "00010", "00015"]
LEFT = np.pad(np.ones((8, 6), dtype=bool), ((4, 20), (2, 40)))
RIGHT = LEFT[:, ::-1]


def rle(mask: np.ndarray) -> dict[str, Any]:
    return {"size": list(mask.shape), "counts": encode_rle(mask)}


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))


def edit_json(path: Path, change: Any) -> None:
    """Applies a function to the content of a JSON file, or replaces it by what the function returns."""
    content = json.loads(path.read_text())
    changed = change(content)
    write_json(path, content if changed is None else changed)


def write_frames(folder: Path, names: list[str] = FRAMES, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        Image.new("RGB", size, (10 * index, 80, 120)).save(folder / f"{name}.jpg")


def write_pngs(folder: Path, pixels: dict[str, Any]) -> None:
    """Writes uint8 arrays as indexed PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in pixels.items():
        image = Image.fromarray(np.asarray(values, dtype=np.uint8), mode="P")
        image.putpalette([value for index in range(256) for value in (index, 255 - index, 0)])
        image.save(folder / f"{name}.png")


def write_mevis(root: Path, videos: tuple[str, ...] = ("aaa", "bbb")) -> None:
    """A sound split `train` in MeViS's layout: a video has an object, a sentence and masks in two of four frames."""
    meta, masks = {}, {}
    for number, video_id in enumerate(videos):
        write_frames(root / "train/JPEGImages" / video_id)
        expression = {"exp": "the thing", "obj_id": [0], "anno_id": [number]}
        meta[video_id] = {"vid_id": number, "expressions": {"0": expression}, "frames": FRAMES}
        masks[str(number)] = [rle(LEFT), None, [], rle(RIGHT)]
    write_json(root / "train/meta_expressions.json", {"videos": meta})
    write_json(root / "train/mask_dict.json", masks)


def write_youtube(root: Path, videos: tuple[str, ...] = ("aaa", "bbb")) -> None:
    """A sound split `train` in Refer-YouTube-VOS's layout: a video has two objects with a sentence each."""
    meta = {}
    for video_id in videos:
        write_frames(root / "train/JPEGImages" / video_id)
        write_pngs(root / "train/Annotations" / video_id, dict.fromkeys(FRAMES, LEFT * 1 + RIGHT * 2))
        expressions = {str(k): {"exp": f"thing {k}", "obj_id": str(k + 1)} for k in range(2)}
        meta[video_id] = {"expressions": expressions, "frames": FRAMES}
    write_json(root / "meta_expressions/train/meta_expressions.json", {"videos": meta})


def faults_of(dataset: str, root: Path, split: str = "train") -> list[Fault]:
    return check_dataset(dataset, root, split)


def rows_of(dataset: str, root: Path, split: str = "train") -> list[dict[str, Any]]:
    """The rows of the table `masks` of a split without faults."""
    rows: list[dict[str, Any]] = []
    examined = examine(dataset, root, split, keep=lambda _, part: rows.extend(part))
    assert examined.faults == []
    return rows


def areas_of(dataset: str, root: Path, split: str = "train") -> dict[tuple[str, str, int], int]:
    rows = rows_of(dataset, root, split)
    return {(row["video_id"], row["annotation_id"], row["frame_index"]): row["area_px"] for row in rows}


def staged(dataset: str, root: Path, split: str, target: Path) -> StagedSplit:
    """A split without faults, written as tables and opened again."""
    target.mkdir(parents=True, exist_ok=True)
    masks = MaskSpool(target)
    examined = examine(dataset, root, split, keep=masks.add)
    assert examined.faults == []
    write_tables(dataset, split, examined, masks, target / dataset / split)
    return StagedSplit(target / dataset / split, root)
