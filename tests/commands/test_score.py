"""`glus score` on sets whose numbers are computed by hand: layouts, completeness, broken files, protocols."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_sets import (
    ANSWERS,
    EMPTY,
    FRAMES,
    HEIGHT,
    OBJECTS,
    WIDTH,
    F,
    J,
    write_frames,
    write_json,
    write_masks,
    write_mevis,
    write_parquet,
    write_png,
)

from glus.manifest import write_manifest
from glus.staging.checks import examine
from glus.staging.spool import MaskSpool
from glus.staging.tables import write_tables

Score = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def score(run: Callable[..., Any]) -> Score:
    """Scores `predictions` against `data`; returns exit code, the JSON and errors."""

    def start(dataset: str = "mevis", split: str = "valid_u", *options: object, root: str = "data") -> Any:
        arguments = ("--dataset", dataset, "--split", split, "--root", root, "--predictions", "predictions", *options)
        code, out, errors = run("score", *arguments, "--json")
        return code, json.loads(out) if out else {}, errors

    return start


@pytest.fixture
def mevis(run: Callable[..., Any]) -> None:
    write_mevis(Path("data"))
    write_masks(Path("predictions"), ANSWERS)


@pytest.mark.parametrize("kind", ["255", "1", "table in a folder", "table", "two processes", "staged"])
def test_numbers_computed_by_hand(score: Score, mevis: None, kind: str) -> None:
    options: list[object] = ["--processes", 2] if kind == "two processes" else []
    if kind == "1":
        write_masks(Path("predictions"), ANSWERS, value=1)
    elif kind.startswith("table"):
        shutil.rmtree("predictions")
        write_parquet(Path("predictions", "predictions.parquet" if "folder" in kind else ""), ANSWERS)
    elif kind == "staged":
        staged = Path("staged/mevis/valid_u")
        masks = MaskSpool(Path())
        examined = examine("mevis", Path("data"), "valid_u", keep=masks.add)
        write_tables("mevis", "valid_u", examined, masks, staged)
        extra = {"frames_root": "data", "release": examined.raw.release}
        write_manifest(staged, step="stage", parameters={}, inputs={}, extra=extra)
    code, found, errors = score("mevis", "valid_u", *options, root="staged" if kind == "staged" else "data")
    assert code == 0, errors
    expected = {"J": J, "F": F, "JF": (J + F) / 2}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert (found["protocol"], found["dataset_version"]) == ("mevis", "v1, 6 expressions")
    assert (found["num_videos"], found["num_expressions"], found["notes"]) == (2, 6, [])
    assert found["missing"] == {"expressions": 0, "frames": 0}
    assert {(row["video_id"], row["expression_id"]): row["j"] for row in found["per_expression"]} == {
        ("a", "0"): 1, ("a", "1"): 0, ("a", "2"): 0.5, ("b", "0"): 0, ("b", "1"): 1, ("b", "2"): 1,
    }  # fmt: skip


def test_the_table_names_protocol_and_release(run: Callable[..., Any], mevis: None) -> None:
    code, out, _ = run(
        "score", "--dataset", "mevis", "--split", "valid_u", "--root", "data", "--predictions", "predictions"
    )
    assert code == 0
    assert all(f"{value:.2f}" in out for value in (J, F, (J + F) / 2))
    assert "mevis/valid_u (v1, 6 expressions), protocol mevis, version 1" in out


def test_shares_of_empty_answers_are_said_to_be_our_own(run: Callable[..., Any], mevis: None) -> None:
    command = ("score", "--dataset", "mevis", "--split", "valid_u", "--root", "data", "--predictions", "predictions")
    assert "our own definition" not in run(*command)[1]  # every sentence has a target
    meta = json.loads(Path("data/valid_u/meta_expressions.json").read_text())
    meta["videos"]["a"]["expressions"]["0"] |= {"obj_id": [], "anno_id": []}
    write_json(meta, Path("data/valid_u/meta_expressions.json"))
    assert "absent_empty and present_answered are our own definition, not the N-acc" in run(*command)[1]


def test_an_incomplete_set_is_refused_or_scores_0(score: Score, mevis: None) -> None:
    Path("predictions/b/2/00005.png").unlink()
    shutil.rmtree("predictions/a/0")
    code, found, errors = score()
    assert (code, found) == (2, {})
    assert "4 masks are missing, of 2 of 6 expressions" in errors
    assert "video a, expression 0: all 3 frames missing; video b, expression 2: frames 1 missing" in errors
    code, found, _ = score("mevis", "valid_u", "--allow-missing")
    assert code == 0
    assert found["missing"] == {"expressions": 2, "frames": 4}
    assert found["J"] == pytest.approx(J - 100 * (1 + 1 / 3) / 6)
    assert [row["num_missing_frames"] for row in found["per_expression"]] == [3, 0, 0, 0, 0, 1]


def test_an_absent_target_without_a_prediction_scores_0(score: Score, mevis: None) -> None:
    meta = json.loads(Path("data/valid_u/meta_expressions.json").read_text())
    meta["videos"]["a"]["expressions"]["0"] |= {"obj_id": [], "anno_id": []}
    write_json(meta, Path("data/valid_u/meta_expressions.json"))
    write_masks(Path("predictions"), {("a", "0"): EMPTY})
    assert score()[1]["per_expression"][0]["j"] == 1
    shutil.rmtree("predictions/a/0")
    assert score("mevis", "valid_u", "--allow-missing")[1]["per_expression"][0]["j"] == 0


def nest() -> None:
    Path("predictions").rename("inner")
    shutil.move("inner", "predictions/Annotations")


def empty_folder() -> None:
    shutil.rmtree("predictions")
    Path("predictions").mkdir()


def withhold_ground_truth() -> None:
    meta = json.loads(Path("data/valid_u/meta_expressions.json").read_text())
    videos = {
        video: entry | {"expressions": {name: {"exp": "x"} for name in entry["expressions"]}}
        for video, entry in meta["videos"].items()
    }
    write_json({"videos": videos}, Path("data/valid_u/meta_expressions.json"))


ANSWER = Path("predictions/b/1/00005.png")
BREAK: dict[str, Callable[[], object]] = {
    "cut": lambda: ANSWER.write_bytes(ANSWER.read_bytes()[:40]),
    "empty file": lambda: ANSWER.write_bytes(b""),
    "size": lambda: write_png(np.zeros((WIDTH, HEIGHT), np.uint8), ANSWER),
    "colour": lambda: write_png(np.zeros((HEIGHT, WIDTH, 3), np.uint8), ANSWER),
    "grey": lambda: write_png(np.full((HEIGHT, WIDTH), 128, np.uint8), ANSWER),
    "labels": lambda: write_png(np.where(OBJECTS["1"], np.uint8(1), np.uint8(255)), ANSWER),
    "unknown expression": lambda: write_masks(Path("predictions"), {("b", "17"): EMPTY}),
    "another level": nest,
    "nothing": empty_folder,
    "no folder": lambda: shutil.rmtree("predictions"),
    "broken ground truth": lambda: Path("data/valid_u/JPEGImages/b/00005.jpg").write_bytes(b""),
    "no ground truth": withhold_ground_truth,
}


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("cut", "predictions/b/1/00005.png cannot be decoded"),
        ("empty file", "predictions/b/1/00005.png is empty"),
        ("size", "predictions/b/1/00005.png is 32 x 24 pixels, its video b is 24 x 32"),
        ("colour", "predictions/b/1/00005.png is an RGB picture"),
        ("grey", "predictions/b/1/00005.png holds the values 128; a mask holds 0 and 1, or 0 and 255"),
        ("labels", "predictions/b/1/00005.png holds the values 1, 255"),
        ("unknown expression", "1 of its entries belong to nothing in mevis/valid_u"),
        ("another level", "Annotations/a/0; "),
        ("nothing", "predictions holds no masks of mevis/valid_u; expected: <video>/<expression>/<frame>.png"),
        ("no folder", "predictions does not exist"),
        (
            "broken ground truth",
            "mevis/valid_u has 1 errors, so that nothing can be matched with it: valid_u/JPEGImages/b",
        ),
        ("no ground truth", "mevis/valid_u comes without masks"),
    ],
)
def test_what_cannot_be_used_is_named(score: Score, mevis: None, kind: str, named: str) -> None:
    BREAK[kind]()
    for options in ((), ("--allow-missing",)):
        code, found, errors = score("mevis", "valid_u", *options)
        assert (code, found) == (2, {})
        assert named in errors
        assert len(errors.splitlines()) == 1


def test_a_table_beside_folders_of_masks_is_refused(score: Score, mevis: None) -> None:
    write_parquet(Path("predictions/predictions.parquet"), ANSWERS)
    assert "holds predictions.parquet and folders of masks, such as a; keep one" in score()[2]


def test_files_that_nothing_lists_are_noted(score: Score, mevis: None) -> None:
    write_png(EMPTY, Path("predictions/a/0/00001.png"))
    Path("predictions/log.txt").write_text("done")
    code, found, _ = score()
    assert (code, found["J"]) == (0, pytest.approx(J))
    assert found["notes"] == ["2 files are not scored, since nothing lists them: ./log.txt; a/0/00001.png"]


def test_what_lies_there_instead_is_said_where_masks_are_missing(score: Score, mevis: None) -> None:
    for path in list(Path("predictions/a/0").iterdir()):
        path.rename(path.with_suffix(".jpg"))
    code, _, errors = score("mevis", "valid_u")
    assert code == 2 and "3 files are not scored, since nothing lists them: a/0/00000.jpg" in errors


def test_the_suffix_may_be_in_capitals_but_not_both(score: Score, mevis: None) -> None:
    expected = score("mevis", "valid_u")
    for path in list(Path("predictions/a/0").iterdir()):
        path.rename(path.with_suffix(".PNG"))
    assert score("mevis", "valid_u") == expected
    shutil.copy("predictions/a/0/00000.PNG", "predictions/a/0/00000.png")
    assert "holds a frame as .png and as .PNG" in score("mevis", "valid_u")[2]


def test_tables_are_refused_too(score: Score, mevis: None) -> None:
    shutil.rmtree("predictions")
    write_parquet(Path("predictions"), {key: mask for key, mask in ANSWERS.items() if key != ("b", "1")})
    assert "video b, expression 1: all 3 frames missing" in score()[2]
    write_parquet(Path("predictions"), ANSWERS | {("c", "0"): EMPTY})
    assert "belong to nothing in mevis/valid_u: video c, expression 0" in score()[2]
    write_parquet(Path("predictions"), ANSWERS, num_frames=4)
    assert "video a, expression 0, frame 3; video a, expression 1, frame 3" in score()[2]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("cityscapes", "valid"), "cityscapes"),
        (("mevis", "test"), "does not exist. Expected below data"),
        (("mevis", "valid_u", "--protocol", "coco"), "'coco' is not a protocol; there are mevis"),
        (("mevis", "valid_u", "--protocol", "ref_davis17_official"), "a protocol of ref_davis17, not of mevis"),
        (("mevis", "valid_u", "--protocol", "revos"), "revos is a protocol of revos, not of mevis"),
        (("mevis", "valid_u", "--processes", 0), "--processes"),
    ],
)
def test_bad_usage(score: Score, mevis: None, options: tuple[object, ...], named: str) -> None:
    code, _, errors = score(*options)
    assert code == 2
    assert named in errors


def test_revos_rounds_and_reports_every_reading(score: Score) -> None:
    write_mevis(Path("data"), kinds={"0": 0, "1": 1, "2": 1})
    third = OBJECTS["1"].copy()
    third[2:6] = False  # 12 of 36 pixels
    answers = {(video, name): third for video in "ab" for name in "012"}
    write_masks(Path("predictions"), answers)
    code, found, errors = score("revos", "valid")
    assert code == 0, errors
    assert found["families"]["referring"]["J"] == 33.33
    assert found["families"]["reasoning"]["J"] == pytest.approx((0 + 16.67) / 2)
    assert found["J"] == pytest.approx((33.33 + 16.67 / 2) / 2)
    # outside object 2: 12 pixels of a foreground of 72; 255-fold as the script weighs them with 0/255 files
    assert found["families"]["reasoning"]["R_boolean"] == pytest.approx((83.33 + 100) / 2)
    assert found["families"]["reasoning"]["R_pred255"] == pytest.approx((0 + 100) / 2)
    assert (found["protocol"], found["num_expressions"]) == ("revos", 6)


def test_reasonvos_in_its_own_layout_and_ours(score: Score) -> None:
    expressions = [
        {"obj_id": "1", "exp_id": 0, "exp_text": "why?", "is_sent": True},
        {"obj_id": "2", "exp_id": 0, "exp_text": "what", "is_sent": False},
    ]
    videos = {"a_b": {"source": "MOSE", "frames": list(FRAMES), "expressions": expressions}}
    write_json({"videos": videos}, Path("data/meta_expressions.json"))
    write_frames(Path("data/JPEGImages/a_b"))
    for name, mask in OBJECTS.items():
        for frame in FRAMES:
            write_png(mask, Path(f"data/Annotations/mose_a_b_{name}/{frame}.png"))
    write_masks(Path("predictions"), {("mose_a_b_1", "0"): OBJECTS["1"], ("mose_a_b_2", "0"): OBJECTS["1"]})
    official = score("reasonvos", "test")[1]
    assert (official["J"], official["protocol"]) == (50, "reasonvos")
    shutil.rmtree("predictions")
    write_masks(Path("predictions"), {("a_b", "1_0"): OBJECTS["1"], ("a_b", "2_0"): OBJECTS["1"]})
    assert score("reasonvos", "test")[1] == official
    write_masks(Path("predictions"), {("mose_a_b_1", "0"): OBJECTS["1"]})
    assert "expression 1_0 has masks in two folders" in score("reasonvos", "test")[2]


@pytest.fixture
def ref_davis17(run: Callable[..., Any]) -> None:
    """One video of two objects and a void pixel; every annotator's two answers are swapped."""
    expressions = {str(4 * k + a): {"exp": f"{k} {a}", "obj_id": str(k + 1)} for k in range(2) for a in range(4)}
    write_json(
        {"videos": {"v": {"frames": list(FRAMES), "expressions": expressions}}},
        Path("data/meta_expressions/valid/meta_expressions.json"),
    )
    write_frames(Path("data/valid/JPEGImages/v"))
    labels = OBJECTS["1"] + 2 * OBJECTS["2"].astype(np.uint8)
    labels[23, 0] = 255
    for name in FRAMES:
        write_png(labels, Path(f"data/valid/Annotations/v/{name}.png"))
    swapped = {"1": OBJECTS["2"].copy(), "2": OBJECTS["1"].copy()}
    swapped["1"][23, 0] = True  # void: costs nothing where it is known
    write_masks(Path("predictions"), {("v", name): swapped[item["obj_id"]] for name, item in expressions.items()})


def test_ref_davis17_officially_and_per_expression(score: Score, ref_davis17: None) -> None:
    assert score("ref_davis17", "valid")[1]["J"] == 0
    code, found, errors = score("ref_davis17", "valid", "--protocol", "ref_davis17_official")
    assert code == 0, errors
    assert {name: found[name] for name in ("J", "F", "JF", "num_objects", "num_expressions")} == {
        "J": 100, "F": 100, "JF": 100, "num_objects": 2, "num_expressions": 8,
    }  # fmt: skip
    assert list(found["annotators"]) == ["anno_0", "anno_1", "anno_2", "anno_3"]
    Path("predictions/v/6/00005.png").unlink()
    assert (
        "video v, expression 6: frames 1 missing"
        in score("ref_davis17", "valid", "--protocol", "ref_davis17_official")[2]
    )
    found = score("ref_davis17", "valid", "--protocol", "ref_davis17_official", "--allow-missing")[1]
    assert found["annotators"]["anno_2"]["J"] == pytest.approx(100 * 2 / 3)
    assert found["J"] == pytest.approx(100 * (3 + 2 / 3) / 4)


def test_ref_davis17_object_that_an_annotator_says_nothing_about(score: Score, ref_davis17: None) -> None:
    meta = json.loads(Path("data/meta_expressions/valid/meta_expressions.json").read_text())
    del meta["videos"]["v"]["expressions"]["4"]  # annotator 0 on object 2
    write_json(meta, Path("data/meta_expressions/valid/meta_expressions.json"))
    shutil.rmtree("predictions/v/4")
    found = score("ref_davis17", "valid", "--protocol", "ref_davis17_official")[1]
    assert [values["J"] for values in found["annotators"].values()] == [50, 100, 100, 100]


def test_ref_davis17_from_label_maps(score: Score, ref_davis17: None) -> None:
    shutil.rmtree("predictions")
    labels = OBJECTS["2"] + 2 * OBJECTS["1"].astype(np.uint8)
    for annotator in range(4):
        for name in FRAMES:
            write_png(labels, Path(f"predictions/anno_{annotator}/v/{name}.png"))
    official = ("ref_davis17", "valid", "--protocol", "ref_davis17_official")
    assert score(*official)[1]["J"] == 100
    shutil.rmtree("predictions/anno_3")
    assert "video v, expression anno_3: all 3 frames missing" in score(*official)[2]
    assert score(*official, "--allow-missing")[1]["J"] == 75
    shutil.move("predictions/anno_0", "label maps")
    shutil.rmtree("predictions")
    shutil.move("label maps", "predictions")
    semi = ("ref_davis17", "valid", "--protocol", "davis17_semi_supervised")
    assert score(*semi)[1]["J"] == 0  # labels are objects here
    for name in FRAMES:
        write_png(OBJECTS["1"] + 2 * OBJECTS["2"].astype(np.uint8), Path(f"predictions/v/{name}.png"))
    Path("predictions/v", f"{FRAMES[0]}.png").unlink()  # the first frame is given, not predicted
    found = score(*semi)[1]
    assert {name: found[name] for name in ("J", "J_recall", "J_decay")} == {"J": 100, "J_recall": 100, "J_decay": 0}
    write_png(np.full((HEIGHT, WIDTH), 3, np.uint8), Path(f"predictions/v/{FRAMES[1]}.png"))
    assert "video v: label 3 is predicted, but there are only 2 objects" in score(*semi)[2]


def write_video(name: str, labels: list[np.ndarray], predicted: list[np.ndarray]) -> None:
    """A video of DAVIS with label maps of its own; sentences about objects 1 and 2."""
    frames = [f"{index:05d}" for index in range(len(labels))]
    for frame, truth, answer in zip(frames, labels, predicted, strict=True):
        write_png(truth, Path(f"data/valid/Annotations/{name}/{frame}.png"))
        write_png(answer, Path(f"predictions/{name}/{frame}.png"))
        write_png(np.zeros((HEIGHT, WIDTH, 3), np.uint8), Path(f"data/valid/JPEGImages/{name}/{frame}.jpg"))
    file = Path("data/meta_expressions/valid/meta_expressions.json")
    meta = json.loads(file.read_text()) if file.is_file() else {"videos": {}}
    expressions = {str(4 * k + a): {"exp": f"{k} {a}", "obj_id": str(k + 1)} for k in range(2) for a in range(4)}
    meta["videos"][name] = {"frames": frames, "expressions": expressions}
    write_json(meta, file)


BOTH = OBJECTS["1"] + 2 * OBJECTS["2"].astype(np.uint8)
LATE = np.where((BOTH == 0) & (np.arange(WIDTH) >= WIDTH - 4), 3, BOTH).astype(np.uint8)


def test_objects_that_first_appear_later_do_not_count(score: Score, run: Callable[..., Any]) -> None:
    """As the official script, which counts the labels of the first frame, in both tasks."""
    write_video("v", [BOTH, BOTH, LATE, LATE, LATE], [BOTH] * 5)
    semi = ("ref_davis17", "valid", "--protocol", "davis17_semi_supervised")
    code, found, errors = score(*semi)
    assert code == 0, errors
    assert {name: found[name] for name in ("J", "F", "num_objects")} == {"J": 100, "F": 100, "num_objects": 2}
    shutil.copytree("predictions/v", "predictions/anno_0/v")
    shutil.rmtree("predictions/v")
    for number in range(1, 4):
        shutil.copytree("predictions/anno_0", f"predictions/anno_{number}")
    found = score("ref_davis17", "valid", "--protocol", "ref_davis17_official")[1]
    assert {name: found[name] for name in ("J", "F", "num_objects")} == {"J": 100, "F": 100, "num_objects": 2}


def test_labels_in_frames_that_do_not_count_are_no_fault(score: Score, run: Callable[..., Any]) -> None:
    write_video("v", [BOTH, BOTH, BOTH, LATE], [BOTH, BOTH, BOTH, LATE])
    found = score("ref_davis17", "valid", "--protocol", "davis17_semi_supervised")[1]
    assert (found["J"], found["num_objects"]) == (100, 2)


def test_videos_of_which_nothing_counts_are_left_out_by_name(score: Score, run: Callable[..., Any]) -> None:
    """Two frames, of which the first and the last do not count; a first frame without an object."""
    semi = ("ref_davis17", "valid", "--protocol", "davis17_semi_supervised")
    write_video("two", [BOTH] * 2, [BOTH] * 2)
    code, _, errors = score(*semi)
    assert code == 2
    assert "davis17_semi_supervised has nothing to score in ref_davis17/valid" in errors
    assert "none counts: two" in " ".join(errors.split())
    write_video("long", [BOTH] * 8, [BOTH] * 8)
    write_video("starts empty", [0 * BOTH, *[BOTH] * 7], [0 * BOTH] * 8)
    code, found, errors = score(*semi)
    assert code == 0, errors
    assert (found["J"], found["J_decay"], found["num_videos"], found["num_objects"]) == (100, 0, 1, 2)
    assert [note.split(": ")[1] for note in found["notes"]] == ["two.", "starts empty."]
    assert found["protocol_version"] == 2
