"""`glus compare` on two runs whose differences are computed by hand."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from html_checks import check_page
from phone import on_a_phone
from tiny_sets import (
    ANSWERS,
    EMPTY,
    OBJECTS,
    write_json,
    write_masks,
    write_mevis,
    write_parquet,
)

BETTER = ANSWERS | {("a", "1"): OBJECTS["2"], ("b", "0"): EMPTY, ("b", "1"): EMPTY}
OPTIONS = ("--root", "data", "--dataset", "mevis", "--split", "valid_u")


@pytest.fixture
def two_runs(run: Callable[..., Any]) -> None:
    write_mevis(Path("data"))
    write_masks(Path("one"), ANSWERS)
    write_masks(Path("two"), BETTER)


@pytest.fixture
def compared(run: Callable[..., Any], two_runs: None) -> Callable[..., Any]:
    def start(a: str = "one", b: str = "two", *options: object) -> Any:
        code, out, errors = run("compare", a, b, *(options or OPTIONS), "--json")
        return code, json.loads(out) if out else {}, errors

    return start


def test_gains_are_paired_by_sentence(compared: Callable[..., Any]) -> None:
    code, found, errors = compared()
    assert code == 0, errors
    split = found["splits"]["mevis/valid_u"]
    gains = {(row["video_id"], row["expression_id"]): row["gain"] for row in split["per_expression"]}
    assert {key: gain for key, gain in gains.items() if gain} == {("a", "1"): 1, ("b", "1"): -1}
    assert next(iter(gains)) == ("b", "1")  # what B loses most comes first
    # both videos drawn twice: +1/3 and -1/3
    assert (split["gain"], split["low"], split["high"]) == pytest.approx((0, -100 / 3, 100 / 3), abs=1e-9)
    assert (split["num_better"], split["num_worse"], split["num_expressions"], split["num_videos"]) == (1, 1, 6, 2)
    groups = split["groups"]
    assert {name: list(found) for name, found in groups.items()} == {
        "size of the target": ["1 to 10 %"],  # 36 and 72 of 768 pixels
        "frames of the video": ["up to 20"],
        "first seen": ["first frame"],
    }
    assert groups["first seen"]["first frame"] == {name: split[name] for name in groups["first seen"]["first frame"]}
    assert compared()[1] == found


def test_a_run_against_itself_gains_nothing_for_sure(compared: Callable[..., Any]) -> None:
    split = compared("one", "one")[1]["splits"]["mevis/valid_u"]
    assert (split["gain"], split["low"], split["high"], split["num_better"], split["num_worse"]) == (0, 0, 0, 0, 0)


def test_what_does_not_match_is_named_and_left_out(compared: Callable[..., Any]) -> None:
    shutil.rmtree("two/b/1")
    Path("one/a/2/00005.png").unlink()
    code, found, _ = compared()
    split = found["splits"]["mevis/valid_u"]
    assert code == 0
    assert split["num_expressions"] == 4
    assert split["unmatched"] == [
        "one lacks masks of 1 of 6 expressions, which are left out: video a, expression 2",
        "two lacks masks of 1 of 6 expressions, which are left out: video b, expression 1",
    ]
    shutil.rmtree("two")
    write_masks(Path("two"), {("a", "2"): EMPTY})
    assert "There is no expression of mevis/valid_u that both runs answer in full" in compared()[2]


def test_projects_are_compared_on_the_splits_that_both_have(compared: Callable[..., Any]) -> None:
    masks = compared()[1]["splits"]["mevis/valid_u"]
    write_parquet(Path("first/predictions/mevis/valid_u/predictions.parquet"), ANSWERS)
    write_parquet(Path("second/mevis/valid_u/predictions.parquet"), BETTER)  # a project's predictions/ alone
    write_parquet(Path("second/mevis/valid/predictions.parquet"), BETTER)
    code, found, errors = compared("first", "second", "--root", "data")
    assert code == 0, errors
    assert found == {"splits": {"mevis/valid_u": masks}, "unmatched": ["mevis/valid is only in second"]}
    assert compared("first", "second", *OPTIONS)[1]["splits"]["mevis/valid_u"] == masks
    code, _, errors = compared("first", "one", "--root", "data")
    assert code == 2
    assert "first and one have no split in common (mevis/valid_u is only in first)" in errors


def test_the_table_and_the_page(run: Callable[..., Any], two_runs: None) -> None:
    code, out, errors = run("compare", "one", "two", *OPTIONS, "-o", "page.html")
    assert code == 0, errors
    assert "-100.0: video b, expression 1 (J&F 100.0 and 0.0)" in out
    page = Path("page.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 1  # of the one sentence of which B is worse
    assert "video b, expression 1" in page and "not drawn" not in page
    check_page(page)
    code, _, errors = run("compare", "one", "two", *OPTIONS, "-o", "page.html")
    assert (code, "page.html exists already" in errors) == (2, True)


def test_the_page_fits_a_phone_however_long_the_names_are(run: Callable[..., Any], two_runs: None) -> None:
    longer = Path("a-run-with-a-name-that-has-no-blanks-and-goes-on-and-on-beyond-the-width-of-a-phone")
    Path("two").rename(longer)
    assert run("compare", "one", longer, *OPTIONS, "-o", "page.html")[0] == 0
    with on_a_phone(Path("page.html").resolve()) as page:
        table = page.get_by_role("region", name="Differences on mevis/valid_u")
        assert table.evaluate("box => box.scrollWidth > box.clientWidth")


def test_a_late_object_is_another_group(run: Callable[..., Any], compared: Callable[..., Any]) -> None:
    masks = json.loads(Path("data/valid_u/mask_dict.json").read_text())
    masks["1"][:2] = [None, None]
    write_json(masks, Path("data/valid_u/mask_dict.json"))
    groups = compared()[1]["splits"]["mevis/valid_u"]["groups"]["first seen"]
    assert {name: found["num_expressions"] for name, found in groups.items()} == {"first frame": 4, "second half": 2}


def test_half_a_split_is_refused(compared: Callable[..., Any]) -> None:
    code, _, errors = compared("one", "two", "--root", "data", "--dataset", "mevis")
    assert (code, "--dataset and --split go together" in errors) == (2, True)
