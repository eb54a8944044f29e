"""Every number of the golden sequences, by the protocol that it belongs to."""

from pathlib import Path

import numpy as np
import pytest
from golden_sequences import GoldenSequences

from glus.errors import InputError
from glus.evaluation.completeness import require_complete
from glus.masks import encode_rle
from glus.metrics import davis, revos
from glus.metrics.davis import ObjectScore
from glus.metrics.protocols import PROTOCOLS, average, protocol_of
from glus.metrics.scoring import ExpressionScore
from glus.metrics.spans import NOTHING, Clip, Spans, read_spans, subtract, unite

EXACT = {"rel": 0, "abs": 1e-12}
PERCENT = {"rel": 0, "abs": 1e-10}


@pytest.fixture(scope="module")
def golden(shared: Path) -> GoldenSequences:
    return GoldenSequences(shared / "goldens/metrics/sequences")


def mean_of(scores: list[ExpressionScore]) -> dict[str, float]:
    found = PROTOCOLS["mevis"].average(scores).overall.measures
    return {name: found[name] / 100 for name in ("J", "F", "JF")}


def test_expressions(golden: GoldenSequences) -> None:
    for score in golden.scores:
        expected = golden.expected["per_expression"][f"{score.video_id}_{score.expression_id}"]
        assert score.j == pytest.approx(expected["J_per_frame"], **EXACT)
        assert score.f == pytest.approx(expected["F_per_frame"], **EXACT)
        found = {"J": score.mean_j, "F": score.mean_f, "JF": score.jf, **score.robustness}
        for name in ("J", "F", "JF", "A_pred255", "A_pred01", "R_pred255", "R_pred01", "R_boolean"):
            assert found[name] == pytest.approx(expected[name], **EXACT), (score.video_id, score.expression_id, name)
    assert len(golden.scores) == len(golden.expected["per_expression"])


def test_foreground_is_the_union_of_what_the_expressions_mean(golden: GoldenSequences) -> None:
    foreground = golden.read("mask_dict_foreground")
    for video_id, entry in golden.meta.items():
        used = {str(name) for item in entry["expressions"].values() for name in item["anno_id"]}
        found = unite(golden.spans(video_id, [golden.masks[name] for name in used]))
        [expected] = golden.spans(video_id, [foreground[video_id]["masks_rle"]])
        assert subtract(found, [expected]).starts.tolist() == subtract(expected, [found]).starts.tolist() == []


def test_mevis(golden: GoldenSequences) -> None:
    expected = golden.expected["dataset"]["mevis"]
    found = average(PROTOCOLS["mevis"], "mevis", "valid_u", golden.scores).to_json()
    assert (found["protocol"], found["num_expressions"]) == ("mevis", expected["n_expressions"])
    for name in ("J", "F", "JF"):
        assert found[name] == pytest.approx(100 * expected[name], **PERCENT)
    for video_id, of_video in golden.expected["per_sequence"].items():
        scores = [score for score in golden.scores if score.video_id == video_id]
        assert {**mean_of(scores)} == pytest.approx(of_video["mevis_mean_over_its_expressions"], **EXACT)


@pytest.mark.parametrize(("pack", "reading"), [("revos_pred255", "pred255"), ("revos_pred1", "pred01")])
def test_revos(golden: GoldenSequences, pack: str, reading: str) -> None:
    expected = golden.expected["dataset"][pack]
    found = average(PROTOCOLS["revos"], "revos", "valid", golden.scores).to_json()
    places = {"referring": found["families"]["referring"], "reason": found["families"]["reasoning"], "overall": found}
    names = {"J": "J", "F": "F", "JF": "JF", "A": f"A_{reading}", "R": f"R_{reading}"}
    for place, values in places.items():
        assert {name: values[key] for name, key in names.items()} == pytest.approx(expected[place], **PERCENT)


def test_revos_absent_targets_are_scored_but_enter_no_number(golden: GoldenSequences) -> None:
    present = [score for score in golden.scores if score.family != "absent"]
    of_all, of_present = revos.average(golden.scores), revos.average(present)
    assert of_all.groups["absent"].num_expressions == len(golden.scores) - len(present)
    assert of_all.overall.num_expressions > of_present.overall.num_expressions
    assert of_all.overall.measures == of_present.overall.measures
    assert {name: of_all.groups[name] for name in of_present.groups} == of_present.groups


def test_revos_needs_both_kinds_and_knows_no_other() -> None:
    score = ExpressionScore("v", "0", revos.REFERRING, (1.0,), (1.0,), None)
    with pytest.raises(InputError, match="no reasoning expressions"):
        revos.average([score])
    with pytest.raises(InputError, match="video v, expression 1 has no type_id"):
        revos.average([score, ExpressionScore("v", "1", None, (1.0,), (1.0,), None)])


def test_reasonvos(golden: GoldenSequences) -> None:
    listed, expected = golden.read("reasonvos_meta"), golden.expected["dataset"]["reasonvos"]
    scores, frames, found = [], {}, {}
    for video_id, entry in listed["meta"]["videos"].items():
        targets = {
            str(item["exp_id"]): [str(listed["ground_truth_anno_id"][item["obj_id"]])] for item in entry["expressions"]
        }
        objects = {str(item["exp_id"]): item["obj_id"] for item in entry["expressions"]}
        answers = {name: track for name, track in listed["prediction_track"].items() if track}
        answered = golden.score(video_id, {name: targets[name] for name in answers}, answers, {})
        for score in answered:
            name = f"{entry['source']}_{video_id}_{objects[score.expression_id]}_{score.expression_id}"
            golden_score = expected["per_expression"][name]
            assert (score.mean_j, score.mean_f) == pytest.approx((golden_score["J"], golden_score["F"]), **EXACT)
        scores += answered
        frames |= {(video_id, name): len(entry["frames"]) for name in targets}
        found |= {(video_id, name): range(len(entry["frames"])) for name in answers}
    assert mean_of(scores) == pytest.approx({name: expected[name] for name in ("J", "F", "JF")}, **EXACT)
    assert len(scores) == expected["n_expressions"]
    if len(found) < len(frames):  # the official script leaves these out without a word
        with pytest.raises(InputError, match=f"{len(frames) - len(found)} of {len(frames)} expressions are incomplete"):
            require_complete(frames, found, "here")


def test_ref_davis17_per_expression(golden: GoldenSequences) -> None:
    listed, expected = golden.read("refdavis_meta"), golden.expected["dataset"]["ref_davis17"]["glus_per_expression"]
    scores = []
    for video_id, entry in listed["meta"]["videos"].items():
        numbers = listed["gt_anno_id_of_object"][video_id]
        targets = {name: [str(numbers[item["obj_id"]])] for name, item in entry["expressions"].items()}
        scores += golden.score(video_id, targets, golden.predictions["refdavis"][video_id], {})
    for score in scores:
        of_expression = expected["per_expression"][f"{score.video_id}_{score.expression_id}"]
        assert (score.mean_j, score.mean_f) == pytest.approx((of_expression["J"], of_expression["F"]), **EXACT)
    found = average(protocol_of("ref_davis17"), "ref_davis17", "valid", scores).to_json()
    assert found["protocol"] == "ref_davis17_per_expression"
    assert (found["J"], found["F"]) == pytest.approx((100 * expected["J"], 100 * expected["F"]), **PERCENT)
    assert {"J": round(found["J"], 2), "F": round(found["F"], 2), "J&F": round(found["JF"], 2)} == expected["rounded"]


def test_ref_davis17_official(golden: GoldenSequences) -> None:
    listed = golden.read("refdavis_meta")
    expected = golden.expected["dataset"]["ref_davis17"]["official_4_annotators"]
    by_annotator: list[list[ObjectScore]] = [[] for _ in range(davis.NUM_ANNOTATORS)]
    for video_id, entry in listed["meta"]["videos"].items():
        numbers = listed["gt_anno_id_of_object"][video_id]
        objects = sorted(numbers, key=int)
        gt = golden.spans(video_id, [golden.masks[str(numbers[name])] for name in objects])
        for annotator, scores in enumerate(by_annotator):
            of_object = {
                item["obj_id"]: golden.predictions["refdavis"][video_id][name]
                for name, item in entry["expressions"].items()
                if int(name) % davis.NUM_ANNOTATORS == annotator
            }
            claimed = golden.spans(video_id, [golden.answer(of_object[name]) for name in objects])
            j, f, answers = davis.score_unsupervised(davis.first_of_each_pixel(claimed), gt, golden.clip(video_id))
            scores += [
                ObjectScore(video_id, *values) for values in zip(objects, map(tuple, j), map(tuple, f), strict=True)
            ]
            for place, answered in enumerate(np.argsort(answers), start=1):  # the official list is in this order
                of_place = expected[f"anno_{annotator}"]["per_object"][f"{video_id}_{place}"]
                assert (j[answered].mean(), f[answered].mean()) == pytest.approx(
                    (of_place["J"], of_place["F"]), **EXACT
                )
    found = davis.average_annotators(by_annotator).to_json("annotators")
    for place, values in {**found["annotators"], "mean": found}.items():
        wanted = {name: 100 * expected[place][name] for name in ("J", "F", "JF")}
        assert {name: values[name] for name in wanted} == pytest.approx(wanted, **PERCENT)


def test_davis_semi_supervised(golden: GoldenSequences) -> None:
    expected = golden.expected["dataset"]
    scores, of_all_frames = [], []
    for video_id in golden.predictions["davis"]:
        clip = golden.clip(video_id)
        numbers, pred, gt = golden.objects(video_id)
        j, f = davis.score_objects(pred, gt, clip)
        for result, key, counted in (
            (scores, "skip_first_last_objects", (j[:, 1:-1], f[:, 1:-1])),
            (of_all_frames, "all_frames_objects", (j, f)),
        ):
            of_video = [
                ObjectScore(video_id, name, tuple(of_j), tuple(of_f))
                for name, of_j, of_f in zip(numbers, *counted, strict=True)
            ]
            found = davis.average_objects(of_video).measures
            wanted = golden.expected["per_sequence"][video_id][key]
            assert {name: found[name] / 100 for name in wanted} == pytest.approx(wanted, **EXACT)
            result += of_video
    official = expected["davis_semi"]
    found = davis.average_objects(scores).measures
    for name in ("J", "F"):
        assert found[name] == pytest.approx(100 * official[f"{name}_mean"], **PERCENT)
        assert found[f"{name}_recall"] == pytest.approx(100 * official[f"{name}_recall"], **PERCENT)
        assert found[f"{name}_decay"] == pytest.approx(100 * official[f"{name}_decay"], **PERCENT)
        by_name = {f"{score.video_id}_{score.object_id}": getattr(score, name.lower()) for score in scores}
        for index, key in enumerate(official["per_object_order"]):
            assert np.mean(by_name[key]) == pytest.approx(official["per_object"][key][name], **EXACT)
            assert davis.recall(by_name[key]) == pytest.approx(official["per_object_recall"][name][index], **EXACT)
            assert davis.decay(by_name[key]) == pytest.approx(official["per_object_decay"][name][index], **EXACT)
    assert found["JF"] == pytest.approx(100 * official["JF"], **PERCENT)
    for key, of_frames in (("vos_benchmark_skip", scores), ("vos_benchmark_all", of_all_frames)):
        means = davis.average_objects(of_frames).measures
        assert {name: means[name] for name in ("J", "F", "JF")} == pytest.approx(
            {name: expected[key][name] for name in ("J", "F", "JF")}, **PERCENT
        )
        for score in of_frames:
            of_object = expected[key]["per_object"][f"{score.video_id}_{score.object_id}"]
            assert {"J": 100 * np.mean(score.j), "F": 100 * np.mean(score.f)} == pytest.approx(of_object, **PERCENT)


def test_davis_unsupervised_proposals(golden: GoldenSequences) -> None:
    expected, proposals = golden.expected["dataset"]["davis_unsupervised_raw"], golden.read("raw_proposals")
    scores = []
    for video_id in expected["sequences"]:
        numbers, _, gt = golden.objects(video_id)
        listed = [proposals[video_id][name] for name in sorted(proposals[video_id], key=int)]
        j, f, answers = davis.score_unsupervised(golden.spans(video_id, listed), gt, golden.clip(video_id))
        scores += [ObjectScore(video_id, *values) for values in zip(numbers, map(tuple, j), map(tuple, f), strict=True)]
        for place, answered in enumerate(np.argsort(answers), start=1):
            of_place = expected["per_object"][f"{video_id}_{place}"]
            assert (j[answered].mean(), f[answered].mean()) == pytest.approx((of_place["J"], of_place["F"]), **EXACT)
    found = davis.average_objects(scores).measures
    names = {"J": "J_mean", "F": "F_mean"} | {name: name for name in found if name not in ("J", "F")}
    assert {name: found[name] / 100 for name in names} == pytest.approx(
        {name: expected[key] for name, key in names.items()}, **EXACT
    )


LINE = Clip(1, 1, 5)


def on_a_line(*pixels: int) -> Spans:
    return read_spans([(0, encode_rle(np.isin(range(5), pixels)[None]))], LINE)


def test_too_few_proposals_are_filled_up_and_too_many_refused() -> None:
    objects = [on_a_line(0, 1), on_a_line(3)]
    j, _, answers = davis.score_unsupervised(objects[1:], objects, LINE)
    assert (j.tolist(), answers.tolist()) == ([[0], [1]], [1, 0])
    with pytest.raises(InputError, match="21 proposals, the challenge allows 20"):
        davis.score_unsupervised([NOTHING] * 21, objects, LINE)


def test_a_pixel_of_a_label_map_goes_to_the_lowest_object() -> None:
    found = davis.first_of_each_pixel([on_a_line(1, 2), on_a_line(0, 1), on_a_line(0, 1, 2), on_a_line(2, 3, 4)])
    expected = [on_a_line(1, 2), on_a_line(0), NOTHING, on_a_line(3, 4)]
    for track, wanted in zip(found, expected, strict=True):
        assert (track.starts.tolist(), track.ends.tolist()) == (wanted.starts.tolist(), wanted.ends.tolist())


@pytest.mark.parametrize(
    ("dataset", "split", "count", "protocol", "version"),
    [
        ("mevis", "valid_u", 793, "mevis", "v1"),
        ("mevis", "valid_u", 907, "mevis", "v2"),
        ("mevis", "valid_u", 2, "mevis", "2 expressions"),
        ("refer_youtube_vos", "valid", 834, "refer_youtube_vos", "2020, 202 videos"),
        ("synthetic", "test", 5, "mevis", "5 expressions"),
    ],
)
def test_numbers_name_their_protocol_and_release(
    dataset: str, split: str, count: int, protocol: str, version: str
) -> None:
    scores = [ExpressionScore("v", str(index), None, (0.5,), (1.0,), None) for index in range(count)]
    found = average(protocol_of(dataset), dataset, split, scores).to_json()
    assert {name: found[name] for name in ("JF", "protocol", "protocol_version", "dataset_version")} == {
        "JF": 75,
        "protocol": protocol,
        "protocol_version": 1,
        "dataset_version": version,
    }
