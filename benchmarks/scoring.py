"""What J, F and whole expressions cost against a plain implementation of their definition, in one process.

The plain one decodes every mask and follows the official scorer step by step: J of whole clips with a mask of void
pixels, F frame by frame. Its disk is dilated by an FFT, the fastest of the plain ways (scipy's binary dilation takes
7 times as long at 480p, 40 times at 1080p). Masks are drawn blobs and, where the reference data is there, the golden
sequences; results have to be equal.

Then whole folders of label maps, PNG files included, beside vos-benchmark 0.1.0 from PyPI in an environment of its own:
the same folders, one process and one thread each, CPU time after imports. Every object is seen in the first frame that
counts, since vos-benchmark counts an object from the frame in which it is first seen; J and F have to be equal.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco
from scipy import ndimage, signal

from glus.evaluation.folder_scoring import Request, score_folder
from glus.masks import decode_rle, encode_rle
from glus.metrics import boundary_f, jaccard_rle
from glus.metrics.scoring import VideoTask, score_predictions
from glus.records.video import Expression, Video

BOUND_TH = 0.008
NUM_FRAMES = {(480, 854): 40, (1080, 1920): 10}
NUM_OBJECTS = 2  # of DAVIS's validation videos on average
REPEATS = 3
SHARED = Path(os.environ.get("GLUS_SHARED", Path(__file__).resolve().parents[2] / "shared"))

VOS_BENCHMARK = "vos-benchmark==0.1.0"
THEIRS = """
import json, sys, time, cv2
from vos_benchmark.benchmark import VideoEvaluator
cv2.setNumThreads(1)
truth, predictions, video = sys.argv[1:]
evaluate = VideoEvaluator(truth, predictions, skip_first_and_last=True)
start = time.process_time()
measures = evaluate(video)[1:]
seconds = time.process_time() - start
print(json.dumps([*(sum(of_objects.values()) / len(of_objects) for of_objects in measures), seconds]))
"""

Clip = list[np.ndarray]  # bool [H, W] for each frame


def plain_decode(rles: list[dict]) -> np.ndarray:
    return np.stack([coco.decode(rle) for rle in rles]).astype(bool)


def plain_j(pred: np.ndarray, gt: np.ndarray) -> list[float]:
    void = np.zeros_like(gt)
    intersection = np.sum((pred & gt) & np.logical_not(void), axis=(-2, -1))
    union = np.sum((pred | gt) & np.logical_not(void), axis=(-2, -1))
    return [i / u if u else 1.0 for i, u in zip(intersection.tolist(), union.tolist(), strict=True)]


def plain_boundary(mask: np.ndarray) -> np.ndarray:
    boundary = np.zeros_like(mask)
    boundary[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    boundary[:-1] |= mask[:-1] ^ mask[1:]
    boundary[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return boundary


@cache
def disk(radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return (y**2 + x**2 <= radius**2).astype(np.float32)


def plain_f(pred: np.ndarray, gt: np.ndarray) -> float:
    radius = math.ceil(BOUND_TH * math.hypot(*gt.shape))
    ours, theirs = plain_boundary(pred), plain_boundary(gt)
    near_ours, near_theirs = (
        signal.fftconvolve(boundary.astype(np.float32), disk(radius), "same") > 0.5 for boundary in (ours, theirs)
    )
    if not ours.any() or not theirs.any():
        return float(not ours.any() and not theirs.any())
    precision = np.sum(ours & near_theirs) / np.sum(ours)
    recall = np.sum(theirs & near_ours) / np.sum(theirs)
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def blob(random: np.random.Generator, size: tuple[int, int], centre: tuple[float, float]) -> np.ndarray:
    """An object of about a tenth of the frame."""
    height, width = size
    ragged = ndimage.gaussian_filter(random.standard_normal(size).astype(np.float32), height / 40)
    y, x = np.indices(size)
    distance = ((y / height - centre[0]) / 0.22) ** 2 + ((x / width - centre[1]) / 0.15) ** 2
    return distance + 0.25 * ragged / ragged.std() < 1


def drawn_clip(size: tuple[int, int]) -> tuple[Clip, Clip]:
    random = np.random.default_rng(0)
    centres = [(0.5, 0.3 + 0.4 * index / NUM_FRAMES[size]) for index in range(NUM_FRAMES[size])]
    pred, gt = ([blob(random, size, centre) for centre in centres] for _ in range(2))
    return pred, gt


def golden_clip(size: tuple[int, int]) -> tuple[Clip, Clip] | None:
    """Predicted and true objects of all golden videos in turn, resized."""
    folder = SHARED / "goldens/metrics/sequences"
    if not folder.is_dir():
        return None
    masks, predictions = (json.loads((folder / f"{name}.json").read_text()) for name in ("mask_dict", "predictions"))
    pairs = [
        (predictions["tracks"][item["pred_track"]][index], masks[str(item["gt_anno_id"])][index])
        for objects in predictions["davis"].values()
        for item in objects.values()
        for index in range(0, 40, 5)
    ]
    pairs = [pair for pair in pairs if all(pair)][:: 1 if size[0] < 1000 else 3]

    def resized(rle: dict) -> np.ndarray:
        picture = Image.fromarray(decode_rle(rle["counts"], *rle["size"]))
        return np.asarray(picture.resize(size[::-1], Image.Resampling.NEAREST))

    return [resized(pred) for pred, _ in pairs], [resized(gt) for _, gt in pairs]


def milliseconds(work: Callable[[], object], num_frames: int) -> float:
    """Median CPU time per frame."""
    work()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * sorted(times)[REPEATS // 2] / num_frames


def compare(kind: str, size: tuple[int, int], clip: tuple[Clip, Clip]) -> None:
    pred, gt = clip
    rles = [[{"size": list(size), "counts": encode_rle(mask)} for mask in masks] for masks in clip]
    stacked = np.stack(pred), np.stack(gt)
    tracks = [{index: rle["counts"] for index, rle in enumerate(track)} for track in rles]
    names = tuple(f"{index:05d}" for index in range(len(gt)))
    task = VideoTask(
        "bench", "bench", Video("v", len(gt), *size, names, "v", ()), (Expression("v", "0", "it", (), ("a",), None),),
        {"a": tracks[1]}, {"0": tracks[0]},
    )  # fmt: skip

    def plain_scores() -> list[tuple[float, float]]:
        decoded = [plain_decode(track) for track in rles]
        return list(zip(plain_j(*decoded), map(plain_f, *decoded), strict=True))

    def our_scores() -> list[tuple[float, float]]:
        [score] = score_predictions(task, BOUND_TH)
        return list(zip(score.j, score.f, strict=True))

    rows: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        (
            "J from run lengths",
            lambda: plain_j(*(plain_decode(track) for track in rles)),
            lambda: jaccard_rle(*rles).tolist(),
        ),
        (
            "F of decoded masks",
            lambda: [plain_f(p, g) for p, g in zip(pred, gt, strict=True)],
            lambda: boundary_f(*stacked).tolist(),
        ),
        ("expression, J and F from run lengths", plain_scores, our_scores),
    ]
    for name, plain, ours in rows:
        assert np.abs(np.subtract(plain(), ours())).max() < 1e-12, name
        baseline, present = milliseconds(plain, len(gt)), milliseconds(ours, len(gt))
        print(
            f"{kind:<7} {size[0]:>4}p  {name:<37} {baseline:>7.2f} ms {present:>7.3f} ms {baseline / present:>6.0f} x"
        )


def label_maps(size: tuple[int, int]) -> tuple[Clip, Clip]:
    """Predicted and true label maps, uint8 [H, W]."""
    random = np.random.default_rng(1)

    def picture(index: int) -> np.ndarray:
        labels = np.zeros(size, dtype=np.uint8)
        for label in range(1, NUM_OBJECTS + 1):
            centre = 0.3 + 0.4 * index / NUM_FRAMES[size], label / (NUM_OBJECTS + 1)
            labels[blob(random, size, centre)] = label
        return labels

    pred, gt = ([picture(index) for index in range(NUM_FRAMES[size])] for _ in range(2))
    return pred, gt


def write_set(root: Path, size: tuple[int, int]) -> None:
    """Writes one video in Ref-DAVIS17's layout below `root`, and its predictions beside it."""
    frames = [f"{index:05d}" for index in range(NUM_FRAMES[size])]
    for folder, clip in zip((root / "predictions/v", root / "valid/Annotations/v"), label_maps(size), strict=True):
        folder.mkdir(parents=True)
        for frame, labels in zip(frames, clip, strict=True):
            picture = Image.fromarray(labels)
            picture.putpalette([value for colour in range(256) for value in (colour, 255 - colour, 0)])
            picture.save(folder / f"{frame}.png")
    (root / "valid/JPEGImages/v").mkdir(parents=True)
    for frame in frames:
        Image.new("RGB", size[::-1]).save(root / f"valid/JPEGImages/v/{frame}.jpg")
    expressions = {str(4 * k): {"exp": "it", "obj_id": str(k + 1)} for k in range(NUM_OBJECTS)}
    lists = root / "meta_expressions/valid/meta_expressions.json"
    lists.parent.mkdir(parents=True)
    lists.write_text(json.dumps({"videos": {"v": {"frames": frames, "expressions": expressions}}}))


def compare_folders(python: Path, size: tuple[int, int], folder: Path) -> None:
    """Scores the same folders by vos-benchmark and here."""
    write_set(folder, size)
    num_frames = NUM_FRAMES[size] - 2  # that count
    predictions = folder / "predictions"
    request = Request("ref_davis17", folder, "valid", predictions, "davis17_semi_supervised", False, 1, ())
    command = [str(python), "-c", THEIRS, str(folder / "valid/Annotations"), str(predictions), "v"]
    times: list[tuple[float, float]] = []
    for _ in range(REPEATS):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        j, f, theirs = json.loads(done.stdout)
        start = time.process_time()
        found = score_folder(request).table["all"].measures
        times.append((theirs, time.process_time() - start))
        assert np.allclose((found["J"], found["F"]), (j, f), rtol=0, atol=1e-10), (found, j, f)
    theirs, ours = (1000 * sorted(values)[REPEATS // 2] / num_frames for values in zip(*times, strict=True))
    what = f"folders, {NUM_OBJECTS} objects, PNG included"
    print(f"{'drawn':<7} {size[0]:>4}p  {what:<37} {theirs:>7.2f} ms {ours:>7.3f} ms {theirs / ours:>6.1f} x")


def vos_benchmark(folder: Path) -> Path:
    """The Python of a new environment that has it."""
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", VOS_BENCHMARK], check=True)
    return python


def main() -> None:
    print(f"{'masks':<7} {'size':>5}  {'what, per frame':<37} {'plain':>10} {'here':>10} {'ratio':>8}")
    for size in NUM_FRAMES:
        for kind, clip in (("drawn", drawn_clip(size)), ("golden", golden_clip(size))):
            if clip:
                compare(kind, size, clip)
    with tempfile.TemporaryDirectory() as made:
        try:
            python = vos_benchmark(Path(made, "environment"))
        except subprocess.CalledProcessError:
            sys.exit(f"{VOS_BENCHMARK} cannot be installed here, so nothing stands beside whole folders.")
        print(f"{'masks':<7} {'size':>5}  {'what, per frame that counts':<37} {'theirs':>10} {'here':>10} {'ratio':>8}")
        for size in NUM_FRAMES:
            compare_folders(python, size, Path(made, str(size[0])))


if __name__ == "__main__":
    main()
