"""What staging a big `mask_dict.json` takes: peak memory of `glus stage` against `json.load` of the same file."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from layouts.mevis import WIDTH, write_split
from PIL import Image

from glus.commands.params import edited

ROOT = Path(__file__).resolve().parents[1]
NUM_FRAMES, NUM_OBJECTS, HEIGHT = 40, 30, 480
BYTES_PER_MASK = 888  # as `layouts.mevis` draws them
MEBIBYTE = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=0.2, help="size of mask_dict.json")
    gigabytes = parser.parse_args().gigabytes
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        masks = write_dataset(project, round(gigabytes * 1e9 / (NUM_FRAMES * NUM_OBJECTS * BYTES_PER_MASK)))
        values = [
            "stage.splits=[mevis/train]", "stage.roots={}", "data.evaluation=[mevis/train]",
            "data.train=[{split: mevis/train, weight: 1.0}]", "tracking.enabled=false", "compute.workers=0",
        ]  # fmt: skip
        (project / "params.yaml").write_text(edited(ROOT / "glus/presets/smoke.yaml", values))
        load = measure([sys.executable, "-c", f"import json; json.load(open({str(masks)!r}))"], project)
        stage = measure([sys.executable, "-m", "glus", "stage"], project)
        print(f"mask_dict.json of {masks.stat().st_size / 1e9:.2f} GB")
        for name, (peak, seconds) in {"json.load alone": load, "glus stage": stage}.items():
            print(f"  {name:16} {peak:6.0f} MiB at most, {seconds:5.1f} s of CPU")
        print(f"ratio of memory {load[0] / stage[0]:.1f}")


def write_dataset(project: Path, num_videos: int) -> Path:
    """MeViS with one picture for all frames; returns its file of masks."""
    picture = project / "frame.jpg"
    Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60)).save(picture)
    folder = project / "data/raw/mevis/train"
    write_split(folder, num_videos, NUM_FRAMES, NUM_OBJECTS, HEIGHT, lambda path, *_: path.hardlink_to(picture))
    return folder / "mask_dict.json"


def measure(command: list[str], folder: Path) -> tuple[float, float]:
    """Peak resident memory in MiB and CPU seconds of a command, all of whose work is in one process."""
    process = subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return used.ru_maxrss * 1024 / MEBIBYTE, used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
