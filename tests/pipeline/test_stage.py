"""The step: what it publishes, what it refuses, what a second or an interrupted run does."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from dvc.repo import Repo
from PIL import Image

from glus.commands.params import edited
from glus.config import ClipKind, Config, load_config, parse_config
from glus.errors import ArtifactError, ConfigError, InputError
from glus.manifest import read_manifest
from glus.pipeline.artifacts import input_hashes, open_split
from glus.pipeline.context import StepContext
from glus.pipeline.runner import WORK, run_step
from glus.pipeline.table import STEPS
from glus.records.tables import read_table
from glus.staging.videos import VideoChecker
from glus.steps import stage
from glus.steps.stage import REPORT

ROOT = Path(__file__).resolve().parents[2]
STEP = next(step for step in STEPS if step.name == "stage")


@pytest.fixture
def config() -> Config:
    """The committed parameters with one clip of each kind per split."""
    config = load_config(ROOT / "params.yaml")
    clips = {split: dict.fromkeys(get_args(ClipKind), 1) for split in config.stage.synthetic.clips}
    synthetic = config.stage.synthetic.model_copy(update={"clips": clips})
    return config.model_copy(update={"stage": config.stage.model_copy(update={"synthetic": synthetic})})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs the step in an empty project."""
    monkeypatch.chdir(tmp_path)

    def start(config: Config, work: str = "work", **options: Any) -> None:
        folder = tmp_path / ".glus" / work
        folder.mkdir(parents=True, exist_ok=True)
        stage.run(StepContext(config, STEP, folder, {}, SimpleNamespace()), **options)  # type: ignore[arg-type]

    return start


def with_splits(config: Config, splits: list[str], **changes: Any) -> Config:
    return config.model_copy(update={"stage": config.stage.model_copy(update={"splits": splits, **changes})})


def test_it_publishes_tables_and_raw_data(config: Config, run: Callable[..., None]) -> None:
    run(config)
    split = open_split(config, "synthetic/test")
    assert {video.num_frames for video in split.videos.values()} == {config.stage.synthetic.num_frames}
    assert split.has_masks
    assert all(split.frame_path(video, 0).is_file() for video in split.videos.values())
    raw = Path("data/raw/synthetic")
    assert sorted(path.name for path in raw.iterdir()) == ["test", "train", "valid_u"]
    assert sorted(path.name for path in (raw / "test").iterdir()) == [
        "JPEGImages",
        "families.json",
        "mask_dict.json",
        "meta_expressions.json",
    ]
    lists = {
        name: json.loads(Path(f"data/staged/{name}.json").read_text())["splits"] for name in ("train", "evaluation")
    }
    assert lists == {
        "train": {"synthetic/train": read_manifest(Path("data/staged/synthetic/train")).content_sha256},
        "evaluation": {"synthetic/test": read_manifest(Path("data/staged/synthetic/test")).content_sha256},
    }


def test_frames_are_those_that_were_staged_or_named(config: Config, run: Callable[..., None]) -> None:
    """A step that shows frames to a model compares them, once for each state that they are in."""
    run(config)
    check = partial(input_hashes, next(step for step in STEPS if step.name == "train"), config)
    check()
    split = open_split(config, "synthetic/train")
    frame = split.frame_path(list(split.videos.values())[3], 2)
    content = frame.read_bytes()
    frame.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    for _ in range(2):
        with pytest.raises(ArtifactError, match=rf"synthetic/train are not .* \(changed since: {frame}\)"):
            check()
    frame.write_bytes(content)
    check()
    note = Path(".glus/frames/synthetic/train.json").read_bytes()
    check()
    assert Path(".glus/frames/synthetic/train.json").read_bytes() == note
    frame.unlink()
    with pytest.raises(ArtifactError, match=rf"{frame} cannot be read \(No such file"):
        check()


def test_the_same_again_is_the_same(config: Config, run: Callable[..., None]) -> None:
    run(config, "first")
    first = read_manifest(Path("data/staged"))
    run(config, "second")
    assert read_manifest(Path("data/staged")) == first


def test_another_evaluation_set_leaves_the_training_list(
    config: Config, run: Callable[..., None], shared: Path
) -> None:
    run(config, "first")
    train = Path("data/staged/train.json").read_bytes()
    roots = {"mevis": str(shared / "realclips/mevis")}
    more = with_splits(config, [*config.stage.splits, "mevis/valid_u"], roots=roots)
    run(more, "second")
    assert Path("data/staged/train.json").read_bytes() == train
    assert open_split(more, "mevis/valid_u").frames_root == shared / "realclips/mevis"


def test_counts_stand_beside_the_published_ones(
    config: Config,
    run: Callable[..., None],
    shared: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(with_splits(config, [*config.stage.splits, "mevis/valid_u"], roots={"mevis": str(shared / "realclips/mevis")}))
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("mevis/valid_u"))
    facts = read_manifest(Path("data/staged/mevis/valid_u")).extra
    assert facts["release"] == "v1"
    for kind, published in (("videos", 50), ("expressions", 793)):
        assert f"{facts['counts'][kind]} {kind} (published: {published})" in line
        assert f"{facts['counts'][kind]} {kind}, published are {published}" in caplog.text
    assert facts["counts"]["objects"] <= facts["counts"]["masks"]


def test_a_fault_anywhere_publishes_nothing(config: Config, run: Callable[..., None], shared: Path) -> None:
    splits = [*config.stage.splits, "mevis/train"]
    with pytest.raises(InputError) as caught:
        run(with_splits(config, splits, roots={"mevis": str(shared / "broken/truncated_jpeg/mevis")}))
    assert "train/JPEGImages/clipA/00002.jpg" in str(caught.value)
    assert not Path("data").exists()


def test_a_fault_keeps_what_was_published_before(config: Config, run: Callable[..., None], shared: Path) -> None:
    run(config, "first")
    before = read_manifest(Path("data/staged"))
    with pytest.raises(InputError):
        run(with_splits(config, [*config.stage.splits, "mevis/train"]), "second")
    assert read_manifest(Path("data/staged")) == before


def test_a_missing_split_is_explained(config: Config, run: Callable[..., None]) -> None:
    with pytest.raises(InputError, match="data/raw/lvvis does not exist") as caught:
        run(with_splits(config, [*config.stage.splits, "lvvis/train"]))
    assert "github.com/haochenheheda/LVVIS" in str(caught.value)


def test_warnings_do_not_refuse(
    config: Config, run: Callable[..., None], shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    splits = [*config.stage.splits, "mevis/train"]
    short = with_splits(config, splits, roots={"mevis": str(shared / "broken/three_frame_video/mevis")})
    run(short)
    assert "clipB has 3 frame(s)" in caplog.text
    assert open_split(short, "mevis/train").videos["clipB"].num_frames == 3


def test_an_interrupted_run_goes_on(
    config: Config, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(config, "undisturbed")
    wanted = read_manifest(Path("data/staged"))
    examined: list[str] = []
    examine = stage.examine

    def stop_at_the_second(dataset: str, root: Path, split: str, *others: Any, **options: Any) -> Any:
        if len(examined) == 1:
            examined.append("stopped")
            raise KeyboardInterrupt
        examined.append(split)
        return examine(dataset, root, split, *others, **options)

    monkeypatch.setattr(stage, "examine", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(config, "disturbed")
    assert read_manifest(Path("data/staged")) == wanted
    monkeypatch.setattr(stage, "write_split", lambda *_: None)  # everything is drawn by now
    run(config, "disturbed")
    assert examined == ["test", "stopped", "train", "valid_u"]
    assert read_manifest(Path("data/staged")) == wanted


def test_without_generated_splits_the_folder_is_empty(config: Config, run: Callable[..., None], shared: Path) -> None:
    data = config.data.model_copy(
        update={
            "train": [config.data.train[0].model_copy(update={"split": "mevis/train"})],
            "evaluation": ["mevis/valid_u"],
        }
    )
    real = with_splits(config, ["mevis/train", "mevis/valid_u"], roots={"mevis": str(shared / "realclips/mevis")})
    run(real.model_copy(update={"data": data}))
    assert list(Path("data/raw/synthetic").iterdir()) == []
    assert json.loads(Path("data/staged/train.json").read_text())["splits"].keys() == {"mevis/train"}


# ---------------------------------------------------------------- resuming, faults of several splits


def write_clips(root: Path, split: str, count: int, size: tuple[int, int] = (48, 32)) -> None:
    """A split in MeViS's layout without masks, as the server splits are."""
    frames = [f"{index:05d}" for index in range(4)]
    names = [f"clip{number:02d}" for number in range(count)]
    for name in names:
        folder = root / split / "JPEGImages" / name
        folder.mkdir(parents=True)
        for index, frame in enumerate(frames):
            Image.effect_noise(size, 10 * index + 10).convert("RGB").save(folder / f"{frame}.jpg")
    videos = {name: {"frames": frames, "expressions": {"0": {"exp": f"the {name}"}}} for name in names}
    (root / split / "meta_expressions.json").write_text(json.dumps({"videos": videos}))


def only(config: Config, splits: list[str], root: Path) -> Config:
    """The configuration with nothing but the given splits of MeViS, from one folder."""
    data = config.data.model_copy(
        update={
            "train": [config.data.train[0].model_copy(update={"split": splits[0]})],
            "evaluation": [splits[-1]],
        }
    )
    return with_splits(config, splits, roots={"mevis": str(root)}).model_copy(update={"data": data})


def test_a_killed_run_goes_on_video_by_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 30
    write_clips(tmp_path / "raw", "valid", count, size=(640, 480))
    changes = ["data.train=[{split: mevis/valid, weight: 1.0}]", "data.evaluation=[mevis/valid]"]
    changes += ["stage.splits=[mevis/valid]", f"stage.roots={{mevis: {tmp_path}/raw}}", "compute.workers=1"]
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
        text = edited(ROOT / "params.yaml", ["tracking.enabled=false", *changes])
        (tmp_path / name / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path / "undisturbed")
    run_step("stage", load_config())
    wanted = read_manifest(Path("data/staged"))
    monkeypatch.chdir(tmp_path / "killed")
    path, pieces = os.pathsep.join([str(ROOT / "tests/killing_site"), str(ROOT)]), "stage/*/kept/mevis/valid/[!.]*.json"
    environment = os.environ | {"PYTHONPATH": path, "KILL_AFTER": f"3 {WORK}/{pieces}"}
    killed = subprocess.run([sys.executable, "-m", "glus", "stage"], env=environment, stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    kept = list(WORK.glob(pieces))
    assert 3 <= len(kept) < count
    assert not Path("data").exists()
    examined = []
    examine = VideoChecker._examine
    monkeypatch.setattr(
        VideoChecker,
        "_examine",
        lambda self, video, folders: (examined.append(video), examine(self, video, folders))[1],
    )
    run_step("stage", load_config())
    assert len(examined) == count - len(kept)
    assert read_manifest(Path("data/staged")) == wanted


def test_only_what_was_mended_is_looked_at_again(
    config: Config, run: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clips(tmp_path / "raw", "valid", 3)
    write_clips(tmp_path / "raw", "valid_u", 2)
    frame = tmp_path / "raw/valid_u/JPEGImages/clip01/00002.jpg"
    content = frame.read_bytes()
    frame.write_bytes(b"")
    real = only(config, ["mevis/valid", "mevis/valid_u"], tmp_path / "raw")
    with pytest.raises(InputError, match=r"clip01/00002\.jpg is empty"):
        run(real)
    assert not Path("data").exists()
    frame.write_bytes(content)
    (tmp_path / "raw/valid/JPEGImages/clip00/00000.jpg").write_bytes(content)  # sound, but another one than before
    examined: list[str] = []
    examine = VideoChecker._examine

    def noting(self: VideoChecker, video: Any, folders: Any) -> Any:
        examined.append(f"{video.frame_dir}")
        return examine(self, video, folders)

    monkeypatch.setattr(VideoChecker, "_examine", noting)
    run(real)
    assert examined == ["valid/JPEGImages/clip00", "valid_u/JPEGImages/clip01"]
    resumed = read_manifest(Path("data/staged"))
    run(real, "fresh")
    assert read_manifest(Path("data/staged")) == resumed


def broken_splits(config: Config, tmp_path: Path) -> Config:
    """A sound split between two broken ones, and a dataset that is not there."""
    for split in ("train", "valid", "valid_u"):
        write_clips(tmp_path / "raw", split, 2)
    (tmp_path / "raw/valid_u/JPEGImages/clip01/00002.jpg").write_bytes(b"")
    real = only(config, ["mevis/train", "mevis/valid", "mevis/valid_u"], tmp_path / "raw")
    return with_splits(real, [*real.stage.splits, "lvvis/train"], roots=real.stage.roots)


def test_keep_going_writes_the_faults_of_all_splits(config: Config, run: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing was published; all of it is in reports/staging_errors\.parquet"):
        run(broken_splits(config, tmp_path), keep_going=True)
    assert not Path("data").exists()
    rows = read_table("staging_errors", REPORT).to_pandas()
    errors = rows[rows.severity == "error"]
    assert set(errors.dataset + "/" + errors.split) == {"lvvis/train", "mevis/train", "mevis/valid_u"}
    assert set(errors[errors.split == "valid_u"].file) == {"valid_u/JPEGImages/clip01/00002.jpg"}
    assert errors[errors.dataset == "lvvis"].problem.str.contains("github.com/haochenheheda/LVVIS").all()
    assert errors[(errors.dataset == "mevis") & (errors.split == "train")].problem.str.contains("obj_id").sum() == 2
    differing = rows[(rows.split == "valid") & (rows.severity == "warning")]
    assert differing.problem.tolist() == ["2 videos, published are 140; 2 expressions, published are 2236"]


def test_without_it_the_first_faulty_split_ends_the_step(
    config: Config, run: Callable[..., None], tmp_path: Path
) -> None:
    real = broken_splits(config, tmp_path)
    real = with_splits(real, real.stage.splits[:-1], roots=real.stage.roots)
    with pytest.raises(InputError, match=r"--keep-going` writes all of it") as caught:
        run(real)
    assert "mevis/train" in str(caught.value)
    assert "valid_u" not in str(caught.value)
    assert not REPORT.exists()


def test_a_sound_run_removes_the_report_of_a_faulty_one(
    config: Config, run: Callable[..., None], tmp_path: Path
) -> None:
    write_clips(tmp_path / "raw", "valid", 2)
    real = only(config, ["mevis/valid"], tmp_path / "raw")
    run(real, keep_going=True)
    assert set(read_table("staging_errors", REPORT)["severity"].to_pylist()) == {"warning"}
    run(real)
    assert not REPORT.exists()


def test_the_report_and_what_evaluate_writes_leave_each_other_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC empties and hashes `reports`, which `evaluate` writes; of the report of `stage` it knows nothing."""
    monkeypatch.chdir(tmp_path)
    shutil.copy2(ROOT / ".dvcignore", tmp_path)
    make = "import pathlib; p = pathlib.Path('reports'); p.mkdir(exist_ok=True); (p / 'index.html').write_text('page')"
    Path("dvc.yaml").write_text(
        json.dumps({"stages": {"evaluate": {"cmd": f'{sys.executable} -c "{make}"', "outs": ["reports"]}}})
    )
    REPORT.parent.mkdir()
    REPORT.write_bytes(b"faults")
    Repo.init(no_scm=True).close()
    with Repo() as repo:
        assert [run_stage.name for run_stage in repo.reproduce()] == ["evaluate"]
        assert not REPORT.exists()
        REPORT.write_bytes(b"faults")
        assert repo.status() == {}
        assert repo.reproduce() == []
        assert REPORT.exists()
        assert Path("reports/index.html").read_text() == "page"


def test_videos_are_left_out_by_parameter(config: Config, run: Callable[..., None], tmp_path: Path) -> None:
    write_clips(tmp_path / "raw", "valid", 3)
    (tmp_path / "raw/valid/JPEGImages/clip01/00000.jpg").write_bytes(b"")
    real = only(config, ["mevis/valid"], tmp_path / "raw")
    without = with_splits(real, real.stage.splits, roots=real.stage.roots, exclude={"mevis/valid": ["clip01"]})
    run(without)
    assert open_split(without, "mevis/valid").videos.keys() == {"clip00", "clip02"}
    with pytest.raises(InputError, match="exclude"):
        open_split(real, "mevis/valid")


def test_a_split_that_is_not_staged_cannot_have_exclusions(config: Config) -> None:
    values = config.model_dump(mode="json")
    values["stage"]["exclude"] = {"mevis/valid": ["clip01"]}
    with pytest.raises(ConfigError, match=r"stage.exclude: mevis/valid is not among stage.splits"):
        parse_config(values, Path("params.yaml"))


def test_own_films_are_staged_with_their_frames(config: Config, run: Callable[..., None], tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    raw = tmp_path / "raw/mine"
    (raw / "Videos").mkdir(parents=True)
    with av.open(str(raw / "Videos/street.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.height, stream.width = 32, 48
        for number in range(5):
            frame = av.VideoFrame.from_image(Image.new("RGB", (48, 32), (40 * number, 80, 120)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (raw / "expressions.csv").write_text("video,expression,objects\nstreet,the car,\n")
    real = only(config, ["own/mine"], tmp_path / "raw")
    real = with_splits(real, real.stage.splits, roots={"own": str(tmp_path / "raw")})
    run(real)
    split = open_split(real, "own/mine")
    video = split.videos["street"]
    assert (video.num_frames, video.height_px, video.width_px) == (5, 32, 48)
    assert [split.frame_path(video, index).is_file() for index in range(5)] == [True] * 5
    assert split.frame_path(video, 0).is_relative_to("data/staged/own/mine")
