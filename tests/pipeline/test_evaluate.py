"""The step `evaluate` on a set so small that its results are computed by hand."""

import csv
import json
import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from html_checks import check_page
from PIL import Image

from glus.config import Config, parse_config, read_parameters
from glus.errors import ArtifactError, GlusError, InputError
from glus.manifest import read_manifest, write_manifest
from glus.masks import encode_rle
from glus.pipeline.context import StepContext
from glus.pipeline.table import STEPS
from glus.pipeline.tracking import Tracker
from glus.records.tables import read_table, write_table
from glus.steps import evaluate

ROOT = Path(__file__).resolve().parents[2]
SIZE, NUM_FRAMES = 20, 2
EMPTY = np.zeros((SIZE, SIZE), dtype=bool)
A, B = EMPTY.copy(), EMPTY.copy()
A[2:6, 2:6] = True  # 16 pixels, 16 on its boundary
B[12:17, 12:17] = True  # 25 pixels, 20 on its boundary, out of reach of A's

EXPRESSIONS = {
    ("plain", "0"): ("appearance", "a"),
    ("plain", "1"): ("appearance", "b"),
    ("turns grey", "0"): ("greyed", "a"),
    ("turns grey", "1"): ("greyed", "b"),
    ("starts grey", "0"): ("starts_grey", "a"),
}
GREY = {"plain": [], "turns grey": [1], "starts grey": [0]}
PREDICTED = {
    ("plain", "0"): [A, A],
    ("plain", "1"): [A, A],
    ("turns grey", "0"): [A, A],
    ("turns grey", "1"): [B, EMPTY],
    ("starts grey", "0"): [A, A],
}
MEMORY_OFF = {("turns grey", "0"): [A, EMPTY], ("turns grey", "1"): [B, EMPTY]}
FIRST_FRAME = {("starts grey", "0"): [EMPTY, A]}


def make_config(*, num_examples: int = 0, **compute: Any) -> Config:
    values = read_parameters(ROOT / "params.yaml")
    values["stage"]["splits"] = ["synthetic/train", "synthetic/test", "mevis/valid"]
    values["data"]["evaluation"] = ["synthetic/test", "mevis/valid"]
    failures = {"found": 0.1, "fits": 0.5}
    values["evaluate"] = {"boundary": 0.008, "failures": failures, "num_examples": num_examples, "seed": 0}
    values["compute"] |= {"processes": 1} | compute
    return parse_config(values, Path("params.yaml"))


def write_split(name: str, parameters: dict, *, with_masks: bool) -> None:
    dataset, split = name.split("/")
    folder, frames_root = Path("data/staged") / name, Path("data/raw") / dataset
    videos, masks = [], []
    for video_id, grey in GREY.items():
        key = {"dataset": dataset, "split": split, "video_id": video_id}
        names = [f"{index:05d}" for index in range(NUM_FRAMES)]
        videos.append(
            {**key, "num_frames": NUM_FRAMES, "height_px": SIZE, "width_px": SIZE, "frame_names": names}
            | {"frame_dir": f"JPEGImages/{video_id}", "grey_frames": grey}
        )
        for index, frame in enumerate(names):
            path = frames_root / "JPEGImages" / video_id / f"{frame}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (SIZE, SIZE), (90, 120, 60 + 40 * index)).save(path)
        masks += [
            {**key, "annotation_id": name, "frame_index": index, "height_px": SIZE, "width_px": SIZE}
            | {"rle_counts": encode_rle(mask), "area_px": int(mask.sum())}
            for name, mask in (("a", A), ("b", B))
            for index in range(NUM_FRAMES)
        ]
    expressions = [
        {"dataset": dataset, "split": split, "video_id": video_id, "expression_id": name, "expression": f"the {target}"}
        | {"object_ids": [target], "annotation_ids": [target], "family": family}
        for (video_id, name), (family, target) in EXPRESSIONS.items()
    ]
    write_table("videos", videos, folder / "videos.parquet")
    write_table("expressions", expressions, folder / "expressions.parquet")
    write_table("masks", masks if with_masks else [], folder / "masks.parquet")
    write_manifest(
        folder, step="stage", parameters=parameters, inputs={}, extra={"frames_root": frames_root.as_posix()}
    )


def prediction_rows(name: str, predicted: dict) -> list[dict[str, Any]]:
    dataset, split = name.split("/")
    return [
        {"dataset": dataset, "split": split, "video_id": video_id, "expression_id": expression_id}
        | {"frame_index": index, "height_px": mask.shape[0], "width_px": mask.shape[1]}
        | {"rle_counts": encode_rle(mask), "seg_token_generated": True, "mean_logit": 1.0}
        for (video_id, expression_id), masks in predicted.items()
        for index, mask in enumerate(masks)
    ]


def write_predictions(name: str, predicted: dict, way: str = "") -> None:
    folder = Path("predictions") / name / way
    write_table("predictions", prediction_rows(name, predicted), folder / "predictions.parquet")
    if not way:
        write_manifest(folder, step="propagate", parameters={}, inputs={}, extra={"checkpoint_step": 870})


def write_keyframes(name: str) -> None:
    dataset, split = name.split("/")
    rows = [
        {"dataset": dataset, "split": split, "video_id": video_id, "expression_id": expression_id}
        | {"frame_index": index, "score": 0.25 + index / 2, "is_key_frame": index == 1}
        for video_id, expression_id in EXPRESSIONS
        for index in range(NUM_FRAMES)
    ]
    write_table("keyframes", rows, Path("data/keyframes") / f"{name}.parquet")


def write_anchors(name: str, anchors: dict[str, dict[tuple[str, str], int]]) -> None:
    dataset, split = name.split("/")
    names = ("dataset", "split", "video_id", "expression_id", "source")
    rows = [
        dict(zip(names, (dataset, split, *key, source), strict=True)) | {"frame_index": index}
        for source, frames in anchors.items()
        for key, index in frames.items()
    ]
    layout = pa.schema(
        [*((column, pa.string()) for column in names), ("frame_index", pa.int32())],
        metadata={"glus.schema": "anchors", "glus.schema_version": "1"},
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=layout), Path("predictions") / name / "anchors.parquet")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A project folder in which everything before `evaluate` is done."""
    monkeypatch.chdir(tmp_path)
    config = make_config()
    write_split("synthetic/test", config.parameters(["stage.synthetic"]), with_masks=True)
    write_split("mevis/valid", {"exclude": [], "root": "data/raw/mevis"}, with_masks=False)
    for name in config.data.evaluation:
        write_predictions(name, PREDICTED)
        write_keyframes(name)
    write_predictions("synthetic/test", MEMORY_OFF, "comparisons/memory_off")
    write_predictions("synthetic/test", FIRST_FRAME, "comparisons/first_frame")
    return config


def run(config: Config) -> dict[str, Any]:
    step = next(step for step in STEPS if step.name == "evaluate")
    evaluate.run(StepContext(config, step, Path(".glus/work"), {}, Tracker()))
    return json.loads(Path("metrics/evaluate.json").read_text())


def read_csv(path: str) -> list[list[str]]:
    with Path(path).open(newline="") as file:
        return list(csv.reader(file))


def test_numbers_computed_by_hand(project: Config) -> None:
    metrics = run(project)
    split = metrics["synthetic"]["test"]
    # J (and F) of the five expressions: 1, 0, 1, (1 + 0) / 2, 1
    assert {name: split[name] for name in ("J", "F", "JF", "num_expressions", "protocol")} == {
        "J": pytest.approx(70),
        "F": pytest.approx(70),
        "JF": pytest.approx(70),
        "num_expressions": 5,
        "protocol": "mevis",
    }
    families = split["families"]
    assert {name: family["JF"] for name, family in families.items()} == pytest.approx(
        {"appearance": 50, "greyed": 75, "starts_grey": 100}
    )
    assert {name: family["referent_accuracy"] for name, family in families.items()} == {
        "appearance": 0.5,
        "greyed": 1,
        "starts_grey": 1,
    }
    assert split["comparisons"] == pytest.approx(
        {
            "greyed_memory_on": 50,
            "greyed_memory_off": 0,
            "starts_grey_key_frame": 100,
            "starts_grey_first_frame": 0,
        }
    )
    assert set(split) - set(families["greyed"]) == {
        "protocol",
        "protocol_version",
        "dataset_version",
        "families",
        "comparisons",
        "failures",
        "key_frame_regret",
    }


def test_another_boundary_is_not_the_protocols(project: Config) -> None:
    """Its name says so; so does the release that the split was staged from."""
    folder = Path("data/staged/synthetic/test")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["extra"]["release"] = "v1"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    changed = project.evaluate.model_copy(update={"boundary": 0.1})
    split = run(project.model_copy(update={"evaluate": changed}))["synthetic"]["test"]
    assert (split["protocol"], split["dataset_version"]) == ("mevis with boundary 0.1", "v1, 5 expressions")


def test_losses_computed_by_hand(project: Config) -> None:
    failures = run(project)["synthetic"]["test"]["failures"]
    # Of five expressions one is on the wrong object in both frames, and one answers nothing in one of its two frames.
    costs = {"wrong_object": 20, "missed": 10, "empty": 0, "extent": 0, "boundary": 0, "false_alarm": 0}
    assert failures["kinds"] == pytest.approx(costs)
    assert (failures["lost"], failures["num_expressions"], failures["num_with_others"]) == (pytest.approx(30), 5, 5)
    assert (failures["found"], failures["fits"]) == (0.1, 0.5)
    lost = {name: family["lost"] for name, family in failures["families"].items()}
    assert lost == pytest.approx({"appearance": 50, "greyed": 25, "starts_grey": 0})


def test_regret_is_null_where_a_start_was_not_predicted(project: Config) -> None:
    regret = run(project)["synthetic"]["test"]["key_frame_regret"]
    of_family = {"num_expressions": 1, "first": 50.0, "selected": 100.0}
    unknown = dict.fromkeys(("random", "oracle", "regret", "gap_closed"))
    assert regret == {**of_family, **unknown, "families": {"starts_grey": {**of_family, **unknown}}}


def test_regret_computed_by_hand(project: Config) -> None:
    """First frame: nothing in the grey clips; random: half of one; oracle: all right but the wrong object of one."""
    nothing, grey = [EMPTY, EMPTY], [key for key in EXPRESSIONS if key[0] != "plain"]
    first = PREDICTED | dict.fromkeys(grey, nothing)
    right = PREDICTED | {("turns grey", "1"): [B, B]}
    write_predictions("synthetic/test", first, "comparisons/first_frame")
    write_predictions("synthetic/test", first | {("turns grey", "1"): [B, EMPTY]}, "comparisons/random_frame")
    write_predictions("synthetic/test", right, "comparisons/oracle_frame")
    regret = run(project)["synthetic"]["test"]["key_frame_regret"]
    families = regret.pop("families")
    assert regret == pytest.approx(
        # J&F of the five: 1, 0, and 0 0 0; 0 0.5 0; 1 0.5 1; 1 1 1
        {"num_expressions": 5, "first": 20, "random": 30, "selected": 70, "oracle": 80, "regret": 10}
        | {"gap_closed": 5 / 6}
    )
    assert families["appearance"] == {
        "num_expressions": 2, "first": 50, "random": 50, "selected": 50, "oracle": 50, "regret": 0, "gap_closed": None,
    }  # fmt: skip
    rows = read_table("per_expression", Path("reports/synthetic/test/per_expression.parquet")).to_pylist()
    names = ("jf", "jf_first_frame", "jf_random_frame", "jf_oracle_frame")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (1, 1, 1, 1), (0, 0, 0, 0), (1, 0, 0, 1), (0.5, 0, 0.5, 1), (1, 0, 0, 1),
    ]  # fmt: skip


def test_oracle_key_frames_come_from_the_anchors(project: Config) -> None:
    write_anchors("synthetic/test", {"selected": dict.fromkeys(EXPRESSIONS, 1), "oracle_frame": {("plain", "1"): 0}})
    run(project)
    rows = read_table("per_expression", Path("reports/synthetic/test/per_expression.parquet")).to_pylist()
    assert [row["oracle_key_frame_index"] for row in rows] == [None, 0, None, None, None]
    assert [row["key_frame_index"] for row in rows] == [1] * 5


@pytest.mark.parametrize(("key", "index"), [(("plain", "0"), 2), (("elsewhere", "0"), 0)])
def test_anchors_beyond_the_split_are_refused(project: Config, key: tuple[str, str], index: int) -> None:
    write_anchors("synthetic/test", {"random_frame": {key: index}})
    with pytest.raises(ArtifactError, match=rf"anchors.parquet: random_frame of video {key[0]}.* is frame {index}"):
        run(project)


def test_baselines_computed_by_hand(project: Config) -> None:
    split = run(project)["synthetic"]["test"]
    baselines = {name: scores["JF"] for name, scores in split["families"]["appearance"]["baselines"].items()}
    # A: J 16/41, precision 16/36, recall 1; B: J 25/41, precision 20/36, recall 1
    union_j, union_f = (16 / 41 + 25 / 41) / 2, (8 / 13 + 5 / 7) / 2
    assert baselines.pop("random_object") in (0, 50, 100)
    assert baselines == pytest.approx(
        {
            "empty": 0,
            "union_of_objects": 100 * (union_j + union_f) / 2,
            "largest_object": 50,
            "shuffled_expressions": 50,  # both masks are A: the first against B, the second against A
        }
    )
    assert split["families"]["greyed"]["baselines"]["shuffled_expressions"]["JF"] == 0
    assert "shuffled_expressions" not in split["families"]["starts_grey"]["baselines"]  # one expression in the clip
    assert split["baselines"]["shuffled_expressions"]["JF"] == pytest.approx(25)  # over the four that have a partner


def test_split_without_masks_is_predicted_only(project: Config) -> None:
    metrics = run(make_config(num_examples=4))
    assert metrics["mevis"]["valid"] == {"protocol": "no ground truth", "num_expressions": 5}
    page = Path("reports/index.html").read_text()
    assert "5 expressions were predicted. They are not scored" in page
    assert len(list(Path("reports/mevis/valid/overlays").glob("example-*.jpg"))) == 4
    assert {path.name for path in Path("reports/mevis/valid").iterdir()} == {"cards.json", "overlays"}
    assert page.count("<h3>Where J&amp;F is lost</h3>") == 1  # of the split that has masks


def test_tables_and_pictures(project: Config) -> None:
    run(make_config(num_examples=4))
    rows = read_table("per_expression", Path("reports/synthetic/test/per_expression.parquet")).to_pylist()
    row = next(row for row in rows if (row["video_id"], row["expression_id"]) == ("turns grey", "1"))
    assert {name: row[name] for name in ("family", "j", "f", "jf", "num_frames", "referent_correct")} == {
        "family": "greyed",
        "j": 0.5,
        "f": 0.5,
        "jf": 0.5,
        "num_frames": 2,
        "referent_correct": True,
    }
    assert (row["key_frame_index"], row["oracle_key_frame_index"]) == (1, None)
    lost = {name.removeprefix("lost_"): value for name, value in row.items() if name.startswith("lost_") and value}
    assert (row["failure"], row["num_visible_frames"], row["num_missed_frames"], lost) == (
        "missed",
        2,
        1,
        {"missed": 0.5},
    )
    assert [row["failure"] for row in rows] == [None, "wrong_object", None, "missed", None]
    with Path("metrics/evaluate_families.csv").open() as file:
        families = {line["family"]: float(line["JF"]) for line in csv.DictReader(file)}
    assert families == pytest.approx({"appearance": 50, "greyed": 75, "starts_grey": 100, "all": 70})
    with Path("reports/synthetic/test/frames.csv").open() as file:
        frames = list(csv.DictReader(file))
    assert len(frames) == 10 and frames[7] == {
        "video_id": "turns grey",
        "expression_id": "1",
        "frame_index": "1",
        "j": "0.0",
        "f": "0.0",
        "frame_score": "0.75",
        "failure": "missed",
    }
    assert [frame["failure"] for frame in frames] == ["", "", *["wrong_object"] * 2, *[""] * 3, "missed", "", ""]
    histograms, curves = (read_csv(f"reports/synthetic/test/{name}.csv") for name in ("histograms", "time_curves"))
    assert [row for row in histograms if row[0] == "J" and row[3:] != ["0", "0"]] == [
        ["J", "0.00", "0.05", "1", "3"], ["J", "0.50", "0.55", "1", "0"], ["J", "0.95", "1.00", "3", "7"],
    ]  # fmt: skip
    greyed = [float(j) for family, _, j in curves if family == "greyed"]
    assert greyed == pytest.approx(np.linspace(1, 0.5, 21)) and len(curves) == 1 + 4 * 21
    overlays = {path.name for path in Path("reports/synthetic/test/overlays").iterdir()}
    cards = ["memory_off", "first_frame", *(f"example-{index}" for index in range(4))]
    assert overlays == {"asked.jpg"} | {f"{card}.{kind}" for card in cards for kind in ("jpg", "svg", "webp")}
    page = Path("reports/index.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(cards) + 4 + 2  # of mevis/valid 4; a clip of each
    charts = sorted(Path("reports/synthetic/test/charts").iterdir())
    assert [chart.stem for chart in charts] == ["failures", "histograms", "key_frames", "time"]
    assert all(b64encode(chart.read_bytes()).decode() in page for chart in charts)
    check_page(page)
    assert read_manifest(Path("reports")).step == "evaluate"


def test_same_bytes_again_also_in_two_processes(project: Config) -> None:
    run(make_config(num_examples=1))
    first, metrics = read_manifest(Path("reports")).content_sha256, Path("metrics/evaluate.json").read_bytes()
    for piece in Path(".glus/work/pieces").rglob("*.json"):
        piece.unlink()
    run(make_config(num_examples=1, processes=2))
    assert read_manifest(Path("reports")).content_sha256 == first
    assert Path("metrics/evaluate.json").read_bytes() == metrics


def test_finished_videos_are_not_scored_again(project: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[str] = []
    genuine = evaluate.score_video

    def dies_at_the_third(task: Any, **settings: Any) -> Any:
        scored.append(task.video.video_id)
        if len(scored) == 3:
            raise KeyboardInterrupt
        return genuine(task, **settings)

    monkeypatch.setattr(evaluate, "score_video", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(project)
    assert not Path("metrics/evaluate.json").exists() and not Path("reports").exists()
    assert run(project)["synthetic"]["test"]["J"] == pytest.approx(70)
    assert scored == ["plain", "turns grey", "starts grey", "starts grey"]


def test_a_damaged_piece_is_named_and_made_again(project: Config, caplog: pytest.LogCaptureFixture) -> None:
    run(project)
    metrics = Path("metrics/evaluate.json").read_bytes()
    first, second, *_ = sorted(Path(".glus/work/pieces").rglob("*.json"))
    first.write_bytes(first.read_bytes()[:-9])
    content = json.loads(second.read_text())
    content["expressions"].pop()
    second.write_text(json.dumps(content))
    run(project)
    assert Path("metrics/evaluate.json").read_bytes() == metrics
    assert all(f"is made again: {piece}" in caplog.text for piece in (first, second))


def damage(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    if kind == "no expression":
        return [row for row in rows if (row["video_id"], row["expression_id"]) != ("turns grey", "1")]
    if kind == "no frame":
        return [row for row in rows if (row["video_id"], row["frame_index"]) != ("starts grey", 1)]
    if kind == "unknown":
        return [*rows, {**rows[0], "expression_id": "17"}]
    if kind == "twice":
        return [*rows, rows[0]]
    change = {"size": {"height_px": SIZE + 1}, "broken": {"rle_counts": "04"}}[kind]
    return [{**rows[0], **change}, *rows[1:]]


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("no expression", InputError, r"1 of 5 expressions are incomplete.*turns grey, expression 1: all 2 frames"),
        ("no frame", InputError, r"1 of 5 expressions are incomplete.*starts grey, expression 0: frames 1 missing"),
        ("unknown", InputError, r"plain, expression 17 is not in the split"),
        ("twice", ArtifactError, r"plain, expression 0, frame 0 is predicted twice"),
        ("size", ArtifactError, r"frame 0 is 21 x 20 pixels, the video is 20 x 20"),
        ("broken", InputError, r"video plain, expression 0, frame 0 cannot be used: runs add up to"),
    ],
)
def test_refuses_a_mean_over_damaged_predictions(
    project: Config, kind: str, error: type[GlusError], words: str
) -> None:
    rows = damage(prediction_rows("synthetic/test", PREDICTED), kind)
    write_table("predictions", rows, Path("predictions/synthetic/test/predictions.parquet"))
    with pytest.raises(error, match=words):
        run(project)
    assert not Path("metrics/evaluate.json").exists()


def test_incomplete_comparison_is_refused(project: Config) -> None:
    write_predictions("synthetic/test", dict([*MEMORY_OFF.items()][:1]), "comparisons/memory_off")
    with pytest.raises(InputError, match=r"memory_off.*turns grey, expression 1: all 2 frames missing"):
        run(project)


def test_comparison_of_another_family_is_not_a_grey_one(project: Config) -> None:
    write_predictions(
        "synthetic/test", {key: [A, A] for key in EXPRESSIONS if key[0] == "plain"}, "comparisons/memory_off"
    )
    assert set(run(project)["synthetic"]["test"]["comparisons"]) == {"starts_grey_key_frame", "starts_grey_first_frame"}


def test_without_comparisons_nothing_is_said_of_key_frames(project: Config) -> None:
    shutil.rmtree("predictions/synthetic/test/comparisons")
    split = run(project)["synthetic"]["test"]
    assert not {"comparisons", "key_frame_regret"} & set(split) and split["failures"]["lost"] == pytest.approx(30)
    assert not Path("reports/synthetic/test/charts/key_frames.svg").exists()
    assert "from the selected frames alone" in Path("reports/index.html").read_text()
