"""JSON that we read and write: one answer for each key, finite numbers only."""

import json
from pathlib import Path
from typing import Any

import pytest

from glus.errors import GlusError, InputError
from glus.files import read_json, to_json, write_json


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"b": [{"a": 1, "c": 2, "a": 1}]}'])
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match="the key 'a' stands twice in one object"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (float("nan"), "J is nan"),
        ({"families": {"motion": {"F": float("inf")}}}, "J.families.motion.F is inf"),
        ([0.5, (1, float("-inf"))], "J.1.1 is -inf"),
    ],
)
def test_no_number_leaves_that_json_does_not_have(tmp_path: Path, value: Any, place: str) -> None:
    with pytest.raises(GlusError, match=place):
        to_json({"J": value})
    with pytest.raises(GlusError, match=place):
        write_json({"J": value}, tmp_path / "metrics.json")
    assert not list(tmp_path.iterdir())


def test_other_numbers_leave_as_they_are(tmp_path: Path) -> None:
    content = {"b": [1, 0.1, None, True], "a": {"c": "d"}}
    write_json(content, tmp_path / "metrics.json")
    assert read_json(tmp_path / "metrics.json") == content == json.loads(to_json(content))
