"""The steps `selector` and `keyframes` on a handful of clips and an untrained labelling model."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from glus.config import Config, parse_config, read_parameters
from glus.data.tokenizer import train_tokenizer
from glus.errors import InputError
from glus.manifest import hash_file, read_manifest, write_manifest
from glus.model.scratch import build_from_scratch
from glus.model.weights import WEIGHTS, save_glus
from glus.pipeline import keyframes, selector
from glus.pipeline.artifacts import split_parameters
from glus.pipeline.context import StepContext
from glus.pipeline.runner import find_step
from glus.pipeline.train import with_glus_tokens
from glus.records import read_table, write_table
from glus.selector.model import KeyFrameSelector
from glus.tracking import Tracker
from glus.training.loop import Trainer

ROOT = Path(__file__).resolve().parents[2]
NUM_FRAMES, SIZE = 3, 64
EXPRESSIONS = {"0": ("the red circle", "appearance"), "1": ("the square", "shape")}


def make_config(**keyframes_section: Any) -> Config:
    values = read_parameters(ROOT / "params.yaml")
    values["stage"]["splits"] = ["synthetic/train", "synthetic/test"]
    values["model"]["language"]["vocabulary"] = 400
    values["model"]["sam2_config"] = str(ROOT / "glus/model/sam2_tiny.yaml")
    values["selector"] |= {"steps": 6, "samples": 2, "checkpoint_every": 2, "log_every": 2, "held_out": 0.3}
    values["selector"] |= {"num_context_frames": 2, "max_expressions": 2}
    values["keyframes"] |= keyframes_section
    values["compute"] |= {"device": "cpu", "processes": 1, "workers": 0}
    return parse_config(values, Path("params.yaml"))


def write_split(config: Config, name: str, videos: list[str]) -> None:
    """Stages clips of noise; the same names give the same clips."""
    dataset, split = name.split("/")
    folder, frames_root = Path("data/staged") / name, Path("data/raw/synthetic")
    key = {"dataset": dataset, "split": split}
    video_rows, expression_rows = [], []
    for video in videos:
        generator = np.random.default_rng(list(video.encode()))
        frame_dir = Path(split) / video
        (frames_root / frame_dir).mkdir(parents=True)
        for index in range(NUM_FRAMES):
            pixels = generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(frames_root / frame_dir / f"{index:05d}.jpg")
        video_rows.append(
            {**key, "video_id": video, "num_frames": NUM_FRAMES, "height_px": SIZE, "width_px": SIZE}
            | {"frame_names": [f"{index:05d}" for index in range(NUM_FRAMES)]}
            | {"frame_dir": frame_dir.as_posix(), "grey_frames": []}
        )
        expression_rows += [
            {**key, "video_id": video, "expression_id": number, "expression": text, "family": family}
            | {"object_ids": ["1"], "annotation_ids": ["1"]}
            for number, (text, family) in EXPRESSIONS.items()
        ]
    write_table("videos", video_rows, folder / "videos.parquet")
    write_table("expressions", expression_rows, folder / "expressions.parquet")
    write_table("masks", [], folder / "masks.parquet")
    extra = {"frames_root": frames_root.as_posix()}
    write_manifest(folder, step="stage", parameters=split_parameters(config, name), inputs={}, extra=extra)


def write_labelling_model(config: Config) -> str:
    """An untrained GLUS; returns the hash of its weights."""
    directory = Path(config.pseudolabel.checkpoint)
    texts = [text for text, _ in EXPRESSIONS.values()]
    tokenizer = with_glus_tokens(train_tokenizer(texts, config.model.language.vocabulary))
    model = build_from_scratch(config.model, tokenizer, seed=0)
    save_glus(model, model.state_dict(), directory)
    sha256 = hash_file(directory / WEIGHTS)
    extra = {"checkpoint_step": 500, "weights_sha256": sha256}
    write_manifest(directory, step="train", parameters={}, inputs={}, extra=extra)
    return sha256


def write_labels(videos: list[str], sha256: str) -> None:
    generator = np.random.default_rng(0)
    rows = [
        {"dataset": "synthetic", "split": "train", "video_id": video, "expression_id": expression}
        | {"frame_index": index, "frame_name": f"{index:05d}", "iou": float(generator.random())}
        | {"target_present": True, "predicted_area_px": 9, "seg_token_generated": True}
        | {"checkpoint_step": 500, "checkpoint_sha256": sha256, "shard": 0}
        for video in videos
        for expression in EXPRESSIONS
        for index in range(NUM_FRAMES)
    ]
    write_table("pseudolabels", rows, Path("data/pseudolabels/shard-00000.parquet"))


def make_context(config: Config, name: str, work: str = "work") -> StepContext:
    folder = Path(work) / name
    folder.mkdir(parents=True, exist_ok=True)
    return StepContext(config, find_step(name), folder, {}, Tracker())


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A project with staged splits, a labelling model and labels."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    config = make_config()
    labelled = [f"train {index}" for index in range(5)]
    write_split(config, "synthetic/train", labelled)
    write_split(config, "synthetic/test", ["test 0", "test 1"])
    write_labels(labelled, write_labelling_model(config))
    return config


def test_selector_then_key_frames(config: Config) -> None:
    selector.run(make_context(config, "selector"))

    metrics = json.loads(Path("metrics/selector.json").read_text())
    assert metrics["pseudo_iou"]["oracle"] >= metrics["pseudo_iou"]["selected"]
    assert metrics["pseudo_iou"].keys() == {"first", "random", "selected", "oracle"}
    assert metrics["families"].keys() == {"appearance", "shape"}
    assert metrics["num_expressions"] == metrics["num_videos"] * len(EXPRESSIONS) > 0
    with Path("metrics/selector_curves.csv").open() as file:
        curves = list(csv.DictReader(file))
    assert [int(row["step"]) for row in curves] == [2, 4, 6]
    for row in curves:
        assert float(row["loss"]) == pytest.approx(float(row["ce"]) + float(row["score"]), rel=1e-4)
    manifest = read_manifest(Path("models/selector"))
    assert manifest.parameters == config.parameters(("seed", "data.train", "selector"))

    keyframes.run(make_context(config, "keyframes"))
    table = read_table("keyframes", Path("data/keyframes/synthetic/test.parquet")).to_pandas()
    assert read_manifest(Path("data/keyframes")).step == "keyframes"
    tracks = dict(list(table.groupby(["video_id", "expression_id"])))
    assert tracks.keys() == {(video, number) for video in ("test 0", "test 1") for number in EXPRESSIONS}
    model = KeyFrameSelector.from_pretrained("models/selector")
    for (video, number), track in tracks.items():
        assert track["frame_index"].tolist() == list(range(NUM_FRAMES))
        expected = model.score(f"data/raw/synthetic/test/{video}", [EXPRESSIONS[number][0]])[0]
        np.testing.assert_allclose(track["score"], expected, atol=1e-5)
        assert track["is_key_frame"].tolist() == [index == int(expected.argmax()) for index in range(NUM_FRAMES)]


def test_a_killed_training_ends_with_the_same_artifacts(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    selector.run(make_context(config, "selector", "undisturbed"))
    outputs = [Path("models/selector") / WEIGHTS, Path("metrics/selector.json"), Path("metrics/selector_curves.csv")]
    undisturbed = [path.read_bytes() for path in outputs]

    step = Trainer._step

    def killed_at_five(self: Trainer, phase: Any, number: int, *rest: Any) -> None:
        if number == 5:
            raise KeyboardInterrupt
        step(self, phase, number, *rest)

    monkeypatch.setattr(Trainer, "_step", killed_at_five)
    with pytest.raises(KeyboardInterrupt):
        selector.run(make_context(config, "selector", "killed"))
    monkeypatch.setattr(Trainer, "_step", step)
    selector.run(make_context(config, "selector", "killed"))
    assert [path.read_bytes() for path in outputs] == undisturbed


def test_labels_of_another_checkpoint_are_refused(config: Config) -> None:
    write_labels(["train 0"], "b" * 64)
    with pytest.raises(InputError, match=r"shard-00000.parquet, row 0: labelled by checkpoint bbbbbbbbbbbb"):
        selector.run(make_context(config, "selector"))
    assert not Path("models/selector").exists()


def test_first_frame_as_source(config: Config) -> None:
    keyframes.run(make_context(make_config(source="first_frame"), "keyframes"))
    table = read_table("keyframes", Path("data/keyframes/synthetic/test.parquet")).to_pandas()
    assert table["score"].tolist() == [1, 0, 0] * 4
    assert table["is_key_frame"].tolist() == [True, False, False] * 4


def test_finished_shards_of_key_frames_are_kept(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyframes, "SHARD_VIDEOS", 1)
    seen: list[str] = []

    def dies_at_second(split: Any, video: Any, expressions: Any) -> np.ndarray:
        seen.append(video.video_id)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return np.ones((len(expressions), video.num_frames))

    monkeypatch.setattr(keyframes, "_first_frame_scores", dies_at_second)
    context = make_context(make_config(source="first_frame"), "keyframes")
    with pytest.raises(KeyboardInterrupt):
        keyframes.run(context)
    assert not Path("data/keyframes").exists()
    keyframes.run(context)
    assert seen == ["test 0", "test 1", "test 1"]
    table = read_table("keyframes", Path("data/keyframes/synthetic/test.parquet")).to_pandas()
    assert len(table) == 4 * NUM_FRAMES
    assert table["is_key_frame"].tolist() == [True, False, False] * 4  # equal scores: the earliest frame


def test_a_score_that_is_no_number_is_named(config: Config) -> None:
    selector.run(make_context(config, "selector"))
    weights = load_file(Path("models/selector") / WEIGHTS)
    weights["score_head.4.bias"] += float("nan")
    save_file(weights, Path("models/selector") / WEIGHTS)
    with pytest.raises(InputError, match=r"synthetic/test video test 0, expression 0, frame 0 is nan"):
        keyframes.run(make_context(config, "keyframes"))
    assert not Path("data/keyframes").exists()
