"""The page of the results: its numbers are the files', what is not there is said, and it reads on a phone, offline."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from html_checks import check_page
from phone import on_a_phone
from PIL import Image

from glus.ablations.report import paper_numbers
from glus.errors import ArtifactError
from glus.evaluation.results import PredictedSplit, ScoredSplit, write_results
from glus.metrics.failures import Failure
from glus.paths import EVALUATION_METRICS, METRICS, REPORTS
from glus.records.tables import write_table
from glus.reporting.cards import AskedClip, Card
from glus.reporting.page import PAGE, write_report
from glus.reporting.palette import BAD, FAINT, GOOD, GROUND, INK, PAPER, UNSURE, Colour
from glus.reporting.run_facts import Origin, PaperNumber, RunFacts, SeedSpread, StepCost, machine_in_words
from glus.reporting.spread import read_spread
from tests.reporting.test_results import SPLIT

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'
WAYS = {"num_expressions": 10, "main": 60.0, "ways": {"2": 58.5}}
FULL = ScoredSplit.from_json({**SPLIT, "window_strides": {**WAYS, "families": {}}})
COSTS = [StepCost("train", 100.4, 150.0, 900), StepCost("evaluate", 20.0, 30.6, 300)]
RUN = RunFacts(
    COSTS,
    ["stage"],
    Origin(
        3, "abc", "1f", "2e", "models/glus 3d", "synthetic/test: mevis 1", "2 processors, no GPU", "runs/passport.json"
    ),
    [SeedSpread("4", "Local Reasoning", "synthetic/test", "32.0 (± 2.8, 2 seeds)")],
    [PaperNumber("2", "GLUS-S (ours)", "mevis/valid", 50.3), PaperNumber("9", "another", "synthetic/test", 12.3)],
)


def card(folder: Path, title: str, sentence: str) -> Card:
    picture = folder / f"{sentence}.jpg"
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (1348, 40)).save(picture)
    picture.with_suffix(".svg").write_text(SVG)
    Image.new("RGB", (648, 40)).save(picture.with_suffix(".webp"))
    return Card(title, sentence, "J 50.0", picture, None, None)


def write_project(project: Path, result: ScoredSplit, *, pictures: bool) -> Path:
    """A project with results of two splits; returns the folder of the scored one's report."""
    folder = project / REPORTS / "synthetic/test"
    (folder / "charts").mkdir(parents=True)
    (project / METRICS).mkdir()
    results = {"synthetic": {"test": result}, "mevis": {"valid": PredictedSplit(7)}}
    write_results(results, project / EVALUATION_METRICS)
    if pictures:
        cards = [
            card(folder / "overlays", *of) for of in (("best", "a"), ("typical", "b"), ("typical", "c"), ("worst", "d"))
        ]
        asked = AskedClip(["the red one", "the <b>blue</b> one"], cards[0].picture)
        drawn = {"asked": asked.to_json(), "comparisons": [], "examples": [item.to_json() for item in cards]}
        (folder / "cards.json").write_text(json.dumps(drawn))
        for name in ("failures", "key_frames", "histograms", "time"):
            (folder / f"charts/{name}.svg").write_text(SVG)
    return folder


def expressions(folder: Path, scores: list[tuple[str, float]]) -> None:
    rows = [
        {
            "dataset": "synthetic", "split": "test", "video_id": video, "expression_id": str(number),
            "family": "motion", "j": jf, "f": jf, "jf": jf, "num_frames": 1, "referent_correct": None,
            "num_visible_frames": 1, "num_missed_frames": 0, "failure": None, "key_frame_index": None,
            "oracle_key_frame_index": None,
            **{f"lost_{kind}": 0.0 for kind in Failure}, "jf_first_frame": None, "jf_random_frame": None,
            "jf_oracle_frame": None,
        }
        for number, (video, jf) in enumerate(scores)
    ]  # fmt: skip
    write_table("per_expression", rows, folder / "per_expression.parquet")


def cells(page: str, first: str) -> list[list[str]]:
    """The rows that a cell begins, as texts."""
    rows = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    ]
    return [[re.sub("<[^>]+>", "", cell).strip() for cell in row] for row in rows if row and row[0] == first]


def test_the_numbers_are_those_of_the_files(tmp_path: Path) -> None:
    folder = write_project(tmp_path, FULL, pictures=True)
    expressions(folder, [("a", 0.2), ("a", 0.4), ("b", 0.6), ("b", 0.8)])
    write_report(tmp_path, RUN)
    page = (tmp_path / PAGE).read_text()
    texts = " ".join(check_page(page))
    families, losses, starts = cells(page, "motion")
    assert families == [
        "motion",
        "10",
        "43.0",
        "45.0",
        "44.0",
        "",
        "50 %",
        "0.0",
        "41.7",
        "–",
        "–",
        "43.0",
        "not learned",
    ]
    assert losses == ["motion", "10", "44.0", "56.0", "0.0", "40.0", "0.0", "16.0", "0.0", "0.0"]
    assert starts == ["motion", "10", "35.5", "–", "44.0", "48.5", "4.5", "65 %"]
    assert cells(page, "all")[-1] == ["all", "10", "60.0", "58.5 (-1.5)"]
    assert cells(page, "Objects turn grey") == [
        ["Objects turn grey", "memory off", "7.0", "", ""], ["Objects turn grey", "memory on", "67.0", "", "+60.0"],
    ]  # fmt: skip
    assert cells(page, "train") == [["train", "100", "150", "900"]]
    assert cells(page, "together") == [["together", "120", "181", "900"]]
    assert cells(page, "4") == [["4", "Local Reasoning", "synthetic/test", "32.0 (± 2.8, 2 seeds)"]]
    passport = [["seed", "3"], ["data", "2e"], ["weights", "models/glus 3d"], ["machine", "2 processors, no GPU"]]
    assert [row for name, _ in passport for row in cells(page, name)] == passport
    assert cells(page, "code") == [["code", "commit abc"]] and "glus replay runs/passport.json" in texts
    assert cells(page, "9") == [["9", "another", "12.3"]] and "50.3" not in texts  # of a split that is not shown
    assert "between 35.0 and 65.0 , the middle" in texts.replace(",", " ,") and "mean of 50.0 would lie" in texts
    assert "Asked 10 sentences about 2 videos, GLUS reaches a J&F of 60.0 of 100." in texts
    assert "the <b>blue</b> one" in texts and "Nothing is known of stage" in texts
    assert [texts.index(f"{title}: “{name}”") for title, name in (("best", "a"), ("typical", "b"), ("worst", "d"))]
    assert texts.index("1 more") < texts.index("typical: “c”")
    assert page.count("data:image/webp;base64,") == texts.count("As a short film") == 4


def test_what_is_not_known_is_one_sentence(tmp_path: Path) -> None:
    bare = replace(FULL, failures=None, comparisons={}, key_frame_regret=None, window_strides=None)
    write_project(tmp_path, bare, pictures=False)
    write_report(tmp_path)
    page = (tmp_path / PAGE).read_text()
    texts = " ".join(check_page(page))
    for sentence in (
        "failures were not counted", "Nothing was predicted without memory", "from the selected frames alone",
        "No other window stride was compared", "No charts were drawn", "No pictures were drawn", "glus report adds it",
        "they are not scored", "no other is known", "no curves of training", "No selector was trained",
    ):  # fmt: skip
        assert sentence.lower() in texts.lower(), sentence
    assert "<img" not in page and page.count("<table") == 1  # of the scores
    write_report(tmp_path, RunFacts())
    assert "No record of the steps is left here" in (texts := " ".join(check_page((tmp_path / PAGE).read_text())))
    assert "No passport of the run is left here" in texts


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no list of pictures"),
        ('{"asked": null}', "'comparisons'"),
        (
            '{"asked": {"sentences": [], "picture": "../../../secret.jpg"}, "comparisons": [], "examples": []}',
            "secret.jpg",
        ),
    ],
)
def test_a_damaged_list_of_pictures_is_named(tmp_path: Path, content: str, words: str) -> None:
    folder = write_project(tmp_path, FULL, pictures=False)
    Image.new("RGB", (1, 1)).save(tmp_path / "secret.jpg")  # not a picture of the report
    (folder / "cards.json").write_text(content)
    with pytest.raises(ArtifactError, match=rf"cards.json.*{words}.*run `glus evaluate` again"):
        write_report(tmp_path)


def test_the_mean_is_as_sure_as_videos_agree(tmp_path: Path) -> None:
    expressions(tmp_path, [("a", 0.5), ("a", 0.7)])
    one = read_spread(tmp_path / "per_expression.parquet")
    assert (one.low, one.high, one.num_videos) == (None, None, 1) and one.mean == pytest.approx(60)
    (tmp_path / "per_expression.parquet").unlink()
    expressions(tmp_path, [("a", 0.0), ("b", 1.0)])  # drawn anew: 0, 50, 50 or 100
    two = read_spread(tmp_path / "per_expression.parquet")
    assert (two.low, two.mean, two.high) == pytest.approx((0, 50, 100))
    assert (two.lower_quarter, two.median, two.upper_quarter) == pytest.approx((25, 50, 75))


def test_costs_and_machines_in_words() -> None:
    record = {"wall_s": 2.0, "cpu_s": 1.0, "cpu_children_s": 3.0, "peak_memory_mib": 5}
    assert StepCost.from_record("stage", record) == StepCost("stage", 2.0, 4.0, 5)
    assert StepCost.from_record("stage", record | {"peak_memory_largest_child_mib": 7}).peak_memory_mib == 7
    assert machine_in_words({}) == ""
    assert machine_in_words({"cpus": 2, "cpu": "X", "gpus": ["Y", "Y"]}) == "2 processors (X), Y, Y"
    [own] = [n for n in paper_numbers() if (n.table, n.row, n.split) == ("2", "GLUS-A (ours)", "mevis/valid")]
    assert own.jf == 51.3


@pytest.mark.parametrize("ground", [PAPER, GROUND])
@pytest.mark.parametrize("text", [INK, FAINT, GOOD, BAD, UNSURE])
def test_texts_have_the_contrast_of_wcag_aa(text: Colour, ground: Colour) -> None:
    def luminance(colour: Colour) -> float:
        linear = [(c / 255 + 0.055) ** 2.4 / 1.055**2.4 if c > 10 else c / 255 / 12.92 for c in colour]
        return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    assert (luminance(ground) + 0.05) / (luminance(text) + 0.05) >= 4.5


def test_it_fits_a_phone_without_a_network(tmp_path: Path) -> None:
    write_project(tmp_path, FULL, pictures=True)
    write_report(tmp_path, RUN)
    with on_a_phone(tmp_path / PAGE) as page:
        box = page.get_by_role("region", name="Scores by family")
        assert box.evaluate("box => box.scrollWidth > box.clientWidth")  # the table is whole, in its own box
