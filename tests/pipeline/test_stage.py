"""The step: what it publishes, what it refuses, what a second or an interrupted run does."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from glus.config import ClipKind, Config, load_config
from glus.errors import InputError
from glus.manifest import read_manifest
from glus.pipeline import stage
from glus.pipeline.artifacts import open_split
from glus.pipeline.context import StepContext
from glus.pipeline.steps import STEPS

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

    def start(config: Config, work: str = "work") -> None:
        folder = tmp_path / ".glus" / work
        folder.mkdir(parents=True, exist_ok=True)
        stage.run(StepContext(config, STEP, folder, {}, SimpleNamespace()))  # type: ignore[arg-type]

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
    config: Config, run: Callable[..., None], shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(with_splits(config, [*config.stage.splits, "mevis/valid_u"], roots={"mevis": str(shared / "realclips/mevis")}))
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("mevis/valid_u"))
    assert "3 videos (published: 50)" in line
    assert "24 expressions (published: 793)" in line


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

    def stop_at_the_second(dataset: str, root: Path, split: str, *others: Any) -> Any:
        if len(examined) == 1:
            examined.append("stopped")
            raise KeyboardInterrupt
        examined.append(split)
        return examine(dataset, root, split, *others)

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
