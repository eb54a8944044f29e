"""What is claimed of the numbers, the terminal's tables and the page."""

import json
import re
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glus.errors import ArtifactError
from glus.evaluation.results import PredictedSplit, ScoredSplit, read_results, write_results
from glus.reporting import print_report
from glus.reporting.page import write_page
from glus.reporting.sections import SplitSection
from glus.reporting.verdicts import best_trivial, comparison_rows, family_rows, is_learned


def scores(jf: float, union: float, shuffled: float) -> dict[str, Any]:
    baselines = {"empty": {"JF": 0.0}, "union_of_objects": {"JF": union}, "shuffled_expressions": {"JF": shuffled}}
    return {"J": jf - 1, "F": jf + 1, "JF": jf, "num_expressions": 10, "baselines": baselines}


def lost(extent: float, missed: float) -> dict[str, Any]:
    kinds = dict.fromkeys(("boundary", "wrong_object", "empty", "false_alarm"), 0.0)
    kinds |= {"extent": extent, "missed": missed}
    return {"lost": extent + missed, "kinds": kinds, "num_expressions": 10, "num_with_others": 8}


def starts(first: float, selected: float, oracle: float | None) -> dict[str, Any]:
    jf = {"first": first, "random": None, "selected": selected, "oracle": oracle}
    regret = {
        "regret": None if oracle is None else oracle - selected,
        "gap_closed": None if oracle is None else (selected - first) / (oracle - first),
    }
    return {"num_expressions": 10, **jf, **regret}


SPLIT = {
    **scores(60.0, 42.0, 20.0),
    "protocol": "mevis",
    "protocol_version": 1,
    "dataset_version": "10 expressions",
    "families": {
        "motion": scores(44.0, 41.7, 43.0) | {"referent_accuracy": 0.5},
        "appearance": scores(88.0, 41.7, 4.7) | {"referent_accuracy": 0.93},
    },
    "comparisons": {"greyed_memory_on": 67.0, "greyed_memory_off": 7.0},
    "failures": lost(30.5, 9.5)
    | {"found": 0.1, "fits": 0.5, "families": {"motion": lost(40.0, 16.0), "appearance": lost(0.0, 12.0)}},
    "key_frame_regret": starts(40.0, 60.0, None) | {"families": {"motion": starts(35.5, 44.0, 48.5)}},
}
RULE = "frames, then kinds of expressions apart"
CHARTS = {name: f"<svg>{name}</svg>" for name in ("failures", "key_frames", "histograms", "time")}
RESULT = ScoredSplit.from_json(SPLIT)
METRICS = {"synthetic": {"test": SPLIT}, "mevis": {"valid": {"protocol": "no ground truth", "num_expressions": 7}}}


def svgs(page: str) -> list[str]:
    """The charts of a page."""
    return [b64decode(content).decode() for content in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)]


def test_nothing_is_claimed_of_a_family_without_baselines() -> None:
    assert is_learned(RESULT.scores.means.groups["appearance"])
    assert not is_learned(replace(RESULT.scores.means.groups["appearance"], baselines={}))


def test_a_family_near_its_best_trivial_baseline_counts_as_not_learned() -> None:
    appearance, motion, everything = family_rows(RESULT.scores.means)
    assert (appearance.name, motion.name, everything.name) == ("appearance", "motion", "all")
    assert (is_learned(appearance.result), is_learned(motion.result)) == (True, False)
    assert best_trivial(motion.result) == 41.7  # shuffled is no trivial baseline


def test_comparisons_are_shown_where_both_sides_were_predicted() -> None:
    [row] = comparison_rows(RESULT.comparisons)
    assert (row.without, row.with_, row.gain) == (7, 67, 60)
    assert comparison_rows({"greyed_memory_on": 67.0}) == []


def test_terminal_table_fits_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/index.html").touch()
    (tmp_path / "metrics/evaluate.json").write_text(json.dumps(METRICS))
    print_report(tmp_path / "metrics/evaluate.json")
    output = capsys.readouterr().out
    lines = output.splitlines()
    motion = next(line for line in lines if line.split()[:1] == ["motion"])
    assert motion.split() == ["motion", "10", "43.0", "45.0", "44.0", "50", "0.0", "41.7", "–", "–", "43.0", "no"]
    assert next(line for line in lines if line.split()[:1] == ["appearance"]).split()[-1] == "yes"
    rows = [line.split() for line in lines]
    assert ["motion", "56.0", "0.0", "40.0", "0.0", "16.0", "0.0", "0.0"] in rows
    assert ["motion", "10", "35.5", "–", "44.0", "48.5", "4.5", "65", "%"] in rows
    assert ["all", "10", "40.0", "–", "60.0", "–", "–", "–"] in rows
    assert any("memory off" in line and "67.0" in line and "+60.0" in line for line in lines)
    assert any("mevis/valid" in line and "7 expressions predicted, not scored" in line for line in lines)
    assert str(tmp_path / "reports/index.html") in output
    assert all(len(line) <= 80 for line in lines[:-1]) and "…" not in output


def test_points_the_way_when_there_are_no_results(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"there are no results yet. Run `make demo`"):
        print_report(tmp_path / "metrics/evaluate.json")


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "evaluate.json"
    write_results({"synthetic": {"test": RESULT}, "mevis": {"valid": PredictedSplit(7)}}, path)
    assert json.loads(path.read_text()) == METRICS
    assert read_results(path) == {"synthetic": {"test": RESULT}, "mevis": {"valid": PredictedSplit(7)}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not valid JSON"),
        ("[]", "something else than results"),
        ('{"mevis": 3}', "something else than results"),
        ('{"mevis": {"valid": {"JF": 1}}}', "lacks 'J'"),
    ],
)
def test_results_that_are_none_are_named(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "evaluate.json"
    path.write_text(content)
    with pytest.raises(ArtifactError, match=rf"{path}.* {words}.*run `glus evaluate` again"):
        print_report(path)


def test_page_shows_training_and_selector_where_they_ran(tmp_path: Path) -> None:
    section = SplitSection("synthetic/test", RULE, RESULT, CHARTS, [], [])
    write_page([section], tmp_path / "without.html", tmp_path)
    (tmp_path / "train_curves.csv").write_text(
        "step,phase,loss,ce,bce,dice,con\n10,image,3,1,1,1,\n20,image,2,.5,1,.5,\n30,clip,1,.2,.5,.3,2\n"
    )
    (tmp_path / "selector.json").write_text(json.dumps({"held_out": {"correlation": 0.625}, "name": "not a number"}))
    write_page([section], tmp_path / "with.html", tmp_path)
    without, with_ = ((tmp_path / name).read_text() for name in ("without.html", "with.html"))
    assert "there are no curves of training" in without and "No selector was trained here" in without
    assert svgs(without) == list(CHARTS.values())
    assert ">contrastive</text>" in svgs(with_)[-1] and ">clip</text>" in svgs(with_)[-1]
    assert '<th scope="row">held_out.correlation</th><td>0.625</td>' in with_ and "not a number" not in with_
    assert with_.count("not learned</span>") == 1


def test_page_says_what_cannot_be_told(tmp_path: Path) -> None:
    unknown = replace(RESULT, failures=None, key_frame_regret=None)
    for name, result in (("all.html", RESULT), ("older.html", unknown)):
        write_page([SplitSection("synthetic/test", RULE, result, CHARTS, [], [])], tmp_path / name, tmp_path)
    page, older = ((tmp_path / name).read_text() for name in ("all.html", "older.html"))
    assert f"Protocol mevis: {RULE}. Percent." in page
    assert page.count("plain means over") == 3  # baselines, losses, key frames: whatever the protocol averages
    assert "In 2 of\n10 expressions no other object is annotated" in page and "(J above 0.5)" in page
    assert "<td>48.5</td><td>4.5</td>\n<td>65 %</td>" in page
    assert "<td>–</td><td>–</td>\n<td>–</td>" in page  # of all: no oracle, no regret, no gap
    assert "failures were not counted" in older and "propagated from the selected frames alone" in older
    assert len(svgs(older)) == len(svgs(page)) - 2


def test_page_escapes_what_it_did_not_write(tmp_path: Path) -> None:
    families = {"<script>alert(1)</script>": scores(50.0, 1.0, 2.0)}
    hostile = ScoredSplit.from_json({**SPLIT, "families": families})
    write_page([SplitSection("synthetic/test", RULE, hostile, CHARTS, [], [])], tmp_path / "page.html", tmp_path)
    assert "<script>" not in (tmp_path / "page.html").read_text()


def test_scores_and_reports_need_no_torch() -> None:
    code = "import sys, glus.metrics, glus.reporting, glus.steps.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
