"""The inputs of the reports, made anew: read as they are shown, refused by `glus check` and the reader alike."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_films import numbers_of

from glus.errors import InputError
from glus.media.folders import list_frame_files
from glus.media.sources import open_frames
from glus.staging.checks import check_dataset, examine
from glus.staging.faults import Fault, errors
from glus.staging.files.mask_files import read_mask_folder

FILMS = (".mp4", ".mkv", ".webm", ".mov", ".avi")


@pytest.fixture(scope="module")
def reports(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each report that has a script and whose tools are here."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("the scripts of the reports need the `ffmpeg` command")
    folder = tmp_path_factory.mktemp("reports")
    for script in sorted((shared / "reports").glob("*/make.sh")):
        environment = {**os.environ, "PY": sys.executable}
        made = subprocess.run(["bash", script, folder / script.parent.name], env=environment, capture_output=True)
        if made.returncode:
            shutil.rmtree(folder / script.parent.name, ignore_errors=True)
    return folder


def inputs(folder: Path) -> list[Path]:
    """All films and folders of pictures."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix in FILMS]
    return [*found, *(path for path in folder.rglob("*") if path.is_dir() and _holds_pictures(path))]


def _holds_pictures(folder: Path) -> bool:
    return any(path.suffix in (".png", ".jpg") for path in folder.iterdir()) and not (folder / ".git").exists()


def faults_of(path: Path, root: Path) -> list[Fault]:
    """What `glus check` says of an input as the one video of an own dataset."""
    place = root / "test" / ("JPEGImages/cat" if path.is_dir() else f"Videos/cat{path.suffix}")
    place.parent.mkdir(parents=True)
    (shutil.copytree if path.is_dir() else shutil.copyfile)(path, place)
    (root / "test/expressions.csv").write_text("video,expression,objects\ncat,the red disc,\n")
    return check_dataset("own", root, "test")


def test_check_and_segment_agree_on_every_input(reports: Path, tmp_path: Path) -> None:
    compared = {"read": 0, "refused": 0}
    for number, path in enumerate(inputs(reports)):
        refused = ""
        try:
            open_frames(path)
        except InputError as problem:
            refused = str(problem)
        found = errors(faults_of(path, tmp_path / str(number)))
        assert bool(refused) == bool(found), f"{path}: {refused or 'read'}; glus check: {found}"
        compared["refused" if refused else "read"] += 1
    assert min(compared.values()) >= 3, compared


@pytest.mark.parametrize("angle", [90, 180])
def test_rotated_films_are_staged_upright_with_their_masks(reports: Path, angle: int) -> None:
    root = reports / f"rotated-film/own{angle}"
    examined = examine("own", root, "train")
    assert not errors(examined.faults)
    (video,) = examined.raw.videos
    rows, _ = read_mask_folder(root, "", examined.raw.masks[0], video, examined.sizes["cat"])
    shown = open_frames(reports / f"rotated-film/rotated{angle}.mp4")
    reference = open_frames(reports / f"rotated-film/shown{angle}")
    assert shown.size == reference.size and len(rows) == len(shown) == 12
    for ours, theirs in zip(shown, reference, strict=True):
        assert np.abs(np.asarray(ours).astype(int) - np.asarray(theirs)).mean() < 2


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("fps60", [number / 60 for number in range(12)]),
        ("vfr", [0, 0.1, 0.2, 0.3, 0.7, 1.2, 1.7, 2.2, 2.7]),  # as ffprobe tells them
    ],
)
def test_films_tell_their_times(reports: Path, name: str, times: list[float]) -> None:
    assert open_frames(reports / f"overlay-time/{name}.mp4").times_s == pytest.approx(times, abs=1e-5)


@pytest.mark.parametrize("name", ["unpadded", "plain", "mac", "long"])
def test_folders_come_in_the_order_of_their_numbers(reports: Path, name: str) -> None:
    numbers = numbers_of(open_frames(reports / "frame-folders" / name))
    assert numbers == list(range(len(numbers))) and len(numbers) in (6, 12)


def test_hidden_files_are_skipped_and_named(reports: Path) -> None:
    found = check_dataset("own", reports / "frame-folders/own_mac", "test")
    assert [fault.severity for fault in found] == ["warning"] and "._00003.jpg" in found[0].problem


def test_grey_frames_of_16_bits_are_refused_with_their_mode(reports: Path) -> None:
    files, _ = list_frame_files(reports / "grey16-frames/frames")
    assert len(files) == 12
    with pytest.raises(InputError, match="I;16"):
        open_frames(reports / "grey16-frames/frames")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("damaged.mp4", "1 of its frames cannot be decoded completely: frame 20 (0.80 s)"),
        ("broken_off.mkv", "it breaks off after 30 frames, at 1.16 s: 30 of 60 frames are lost"),
        ("broken_off.webm", "it breaks off after 29 frames, at 1.12 s: 31 of 60 frames are lost"),
    ],
)
def test_damage_is_named_and_counted(reports: Path, name: str, said: str) -> None:
    (fault,) = errors(check_dataset("own", reports / f"damaged-film/own_{name}", "test"))
    assert said in fault.problem
    for sound in ("sound.mp4", "sound.mkv", "sound.webm"):
        assert len(open_frames(reports / "damaged-film" / sound)) == 60
