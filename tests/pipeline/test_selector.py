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

from glus import KeyFrameSelector
from glus.config import Config, parse_config, read_parameters
from glus.errors import InputError
from glus.files import hash_file
from glus.keyframes.sources import drawn_frame
from glus.manifest import read_manifest, write_manifest
from glus.masks import encode_rle
from glus.model.scratch import build_from_scratch
from glus.pipeline.artifacts import split_parameters
from glus.pipeline.context import StepContext
from glus.pipeline.runner import find_step
from glus.pipeline.tracking import Tracker
from glus.processing.tokenizer import train_tokenizer
from glus.records.tables import read_table, write_table
from glus.steps import keyframes, propagate, selector
from glus.steps.train import with_glus_tokens
from glus.training.loop.trainer import Trainer
from glus.weights.folder import WEIGHTS
from glus.weights.saved import save_glus

ROOT = Path(__file__).resolve().parents[2]
NUM_FRAMES, SIZE = 3, 64
EXPRESSIONS = {"0": ("the red circle", "appearance"), "1": ("the square", "shape")}


def make_config(**keyframes_section: Any) -> Config:
    values = read_parameters(ROOT / "params.yaml")
    values["stage"]["splits"] = ["synthetic/train", "synthetic/test"]
    values["model"]["language"]["vocabulary"] = 400
    values["model"]["sam2_config"] = str(ROOT / "glus/model/sam2_tiny.yaml")
    values["selector"] |= {"steps": 6, "samples": 2, "checkpoint_every": 2, "log_every": 2, "held_out": 0.3}
    values["selector"] |= {"num_context_frames": [2, 2], "max_expressions": 2}
    values["selector"]["optimiser"]["warmup_steps"] = 2
    values["keyframes"] |= keyframes_section
    values["compute"] |= {"device": "cpu", "processes": 1, "workers": 0}
    return parse_config(values, Path("params.yaml"))


def write_split(config: Config, name: str, videos: list[str]) -> None:
    """Stages clips of noise in which the object is a square in all frames but the first; equal names, equal clips."""
    dataset, split = name.split("/")
    folder, frames_root = Path("data/staged") / name, Path("data/raw/synthetic")
    key = {"dataset": dataset, "split": split}
    video_rows, expression_rows, mask_rows = [], [], []
    square = np.zeros((SIZE, SIZE), dtype=bool)
    square[8:40, 16:48] = True
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
        mask_rows += [
            {**key, "video_id": video, "annotation_id": "1", "frame_index": index, "height_px": SIZE, "width_px": SIZE}
            | {"rle_counts": encode_rle(square), "area_px": int(square.sum())}
            for index in range(1, NUM_FRAMES)
        ]
    write_table("videos", video_rows, folder / "videos.parquet")
    write_table("expressions", expression_rows, folder / "expressions.parquet")
    write_table("masks", mask_rows, folder / "masks.parquet")
    extra = {"frames_root": frames_root.as_posix()}
    write_manifest(folder, step="stage", parameters=split_parameters(config, name), inputs={}, extra=extra)


def write_models(config: Config) -> str:
    """An untrained GLUS, as labelling and as final model; returns the hash of its weights."""
    directory = Path(config.pseudolabel.checkpoint)
    texts = [text for text, _ in EXPRESSIONS.values()]
    tokenizer = with_glus_tokens(train_tokenizer(texts, config.model.language.vocabulary))
    model = build_from_scratch(config.model, tokenizer, seed=0)
    for folder in (directory, Path("models/glus/final")):
        save_glus(model, model.state_dict(), folder)
    sha256 = hash_file(directory / WEIGHTS)
    extra = {"checkpoint_step": 500, "weights_sha256": sha256}
    for folder in (directory, Path("models/glus/final")):
        write_manifest(folder, step="train", parameters={}, inputs={}, extra=extra)
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
    write_labels(labelled, write_models(config))
    return config


def test_selector_then_key_frames(config: Config) -> None:
    selector.run(make_context(config, "selector"))

    metrics = json.loads(Path("metrics/selector.json").read_text())
    assert metrics["pseudo_iou"]["oracle"] >= metrics["pseudo_iou"]["selected"]
    assert metrics["pseudo_iou"].keys() == {"first", "random", "selected", "oracle"}
    assert metrics["families"].keys() == {"appearance", "shape"}
    for part in (metrics, *metrics["families"].values()):
        assert part["jf"].keys() == {"first", "random", "selected", "oracle"}
        assert all(0 <= value <= 100 for value in part["jf"].values())
    assert Image.open("metrics/selector.png").size > (600, 400)
    assert metrics["num_expressions"] == metrics["num_videos"] * len(EXPRESSIONS) > 0
    with Path("metrics/selector_curves.csv").open() as file:
        curves = list(csv.DictReader(file))
    assert [int(row["step"]) for row in curves] == [2, 4, 6]
    for row in curves:
        assert float(row["loss"]) == pytest.approx(float(row["ce"]) + float(row["score"]), rel=1e-4)
    manifest = read_manifest(Path("models/selector"))
    assert manifest.parameters == config.parameters(("seed", "data.train", "selector", "compute.precision"))

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


def key_frames(table: str) -> list[int]:
    """Of the two test videos' expressions, in order."""
    rows = read_table("keyframes", Path("data/keyframes") / f"{table}.parquet").to_pandas()
    assert len(rows) == 4 * NUM_FRAMES
    return rows[rows["is_key_frame"]]["frame_index"].tolist()


def test_every_source_of_table_5(config: Config) -> None:
    """The object is not there in the first frame, so no oracle starts from it."""
    selector.run(make_context(config, "selector"))
    listed = {f"test {video}_{expression}": f"0000{video + 1}" for video in range(2) for expression in EXPRESSIONS}
    Path("key_frames.json").write_text(json.dumps(listed))
    comparisons = ["first_frame", "random_frame", "oracle_frame", "chat_univi", "file"]
    changed = make_config(comparisons=comparisons, files={"synthetic/test": "key_frames.json"})
    keyframes.run(make_context(changed, "keyframes"))
    found = {name: key_frames(f"comparisons/{name}/synthetic/test") for name in comparisons}
    assert found["first_frame"] == [0, 0, 0, 0]
    assert found["file"] == [1, 1, 2, 2]
    assert 0 not in found["oracle_frame"]
    again = [
        drawn_frame(f"synthetic/test/test {v}/{e}", config.seed, NUM_FRAMES) for v in range(2) for e in EXPRESSIONS
    ]
    assert found["random_frame"] == again
    oracle = read_table("keyframes", Path("data/keyframes/comparisons/oracle_frame/synthetic/test.parquet")).to_pandas()
    assert oracle["score"].between(-1, 1).all() and (oracle.groupby("frame_index")["score"].max()[0] == -1)
    untuned = read_table("keyframes", Path("data/keyframes/comparisons/chat_univi/synthetic/test.parquet")).to_pandas()
    assert untuned["score"].nunique() > NUM_FRAMES


def test_propagation_from_every_source(config: Config) -> None:
    first = make_config(source="first_frame", comparisons=["oracle_frame"])
    keyframes.run(make_context(first, "keyframes"))
    propagate.run(make_context(first, "propagate"))
    folder = Path("predictions/synthetic/test")
    main, compared = (
        read_table("predictions", folder / name / "predictions.parquet").to_pandas()
        for name in (".", "comparisons/oracle_frame")
    )
    assert len(main) == 4 * NUM_FRAMES
    assert set(compared["expression_id"]) == {"0"}  # of propagate.comparisons.key_frames only `appearance` is here
    anchors = read_table("anchors", folder / "anchors.parquet").to_pandas()
    starts = {source: rows["frame_index"].tolist() for source, rows in anchors.groupby("source")}
    assert starts == {"selected": [0] * 4, "oracle_frame": key_frames("comparisons/oracle_frame/synthetic/test")[::2]}


def test_an_oracle_needs_ground_truth(config: Config) -> None:
    write_table("masks", [], Path("data/staged/synthetic/test/masks.parquet"))
    with pytest.raises(InputError, match="synthetic/test has no ground truth"):
        keyframes.run(make_context(make_config(source="oracle_frame"), "keyframes"))
    keyframes.run(make_context(make_config(source="first_frame"), "keyframes"))  # and nothing is compared without
    assert not Path("data/keyframes/comparisons").exists()


def test_finished_videos_are_not_scored_again(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def dies_at_second(split: Any, video: Any, expressions: Any) -> np.ndarray:
        seen.append(video.video_id)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return np.ones((len(expressions), video.num_frames))

    monkeypatch.setattr(keyframes, "first_frame", dies_at_second)
    context = make_context(make_config(source="first_frame", comparisons=[]), "keyframes")
    with pytest.raises(KeyboardInterrupt):
        keyframes.run(context)
    assert not Path("data/keyframes").exists()
    keyframes.run(context)
    assert seen == ["test 0", "test 1", "test 1"]
    table = read_table("keyframes", Path("data/keyframes/synthetic/test.parquet")).to_pandas()
    assert len(table) == 4 * NUM_FRAMES
    assert table["is_key_frame"].tolist() == [True, False, False] * 4  # equal scores: the earliest frame


def test_a_damaged_piece_is_scored_again(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    context = make_context(make_config(source="first_frame", comparisons=[]), "keyframes")
    keyframes.run(context)
    table = Path("data/keyframes/synthetic/test.parquet").read_bytes()
    piece = min((context.work / "pieces").rglob("*.parquet"))
    piece.write_bytes(piece.read_bytes()[:100])
    keyframes.run(context)
    assert Path("data/keyframes/synthetic/test.parquet").read_bytes() == table
    assert f"is made again: {piece}" in caplog.text


def test_a_score_that_is_no_number_is_named(config: Config) -> None:
    selector.run(make_context(config, "selector"))
    weights = load_file(Path("models/selector") / WEIGHTS)
    weights["score_head.4.bias"] += float("nan")
    save_file(weights, Path("models/selector") / WEIGHTS)
    made = read_manifest(Path("models/selector"))
    write_manifest(Path("models/selector"), step=made.step, parameters=made.parameters, inputs=made.inputs)
    with pytest.raises(InputError, match=r"synthetic/test, video test 0: the score of frame 0 .* is nan"):
        keyframes.run(make_context(config, "keyframes"))
    assert not Path("data/keyframes").exists()
