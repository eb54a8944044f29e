"""Pieces: one file each, keyed by what decides it, whole or not there; put together only when each is there once."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from toy_pieces import content, kill_once, made, refuse, squares

from glus.config import ComputeConfig
from glus.errors import GlusError, InputError, KilledError
from glus.execution.engines import make_missing
from glus.execution.pieces import piece_name
from glus.records.video import Expression, Video

VIDEO = Video("dog", 3, 8, 8, ("a", "b", "c"), "dog", ())
SENTENCES = [Expression("dog", "0", "a dog", (), ("1",), None), Expression("dog", "1", "the tail", (), ("2",), None)]


def compute(processes: int) -> ComputeConfig:
    return ComputeConfig(
        engine="local", shards=1, device="cpu", precision="float32", processes=processes, threads=1, workers=0
    )


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_key_is_the_content() -> None:
    name = piece_name(3, VIDEO, SENTENCES, "model", ".parquet")
    assert name == piece_name(3, replace(VIDEO), list(SENTENCES), "model", ".parquet")
    others = {
        piece_name(3, replace(VIDEO, frame_names=("a", "b", "d")), SENTENCES, "model", ".parquet"),
        piece_name(3, VIDEO, SENTENCES[:1], "model", ".parquet"),
        piece_name(3, VIDEO, [SENTENCES[0], replace(SENTENCES[1], text="a tail")], "model", ".parquet"),
        piece_name(3, VIDEO, SENTENCES, "another model", ".parquet"),
    }
    assert len(others) == 4 and name not in others
    places = [piece_name(number, VIDEO, SENTENCES, "", ".json") for number in (2, 11, 100)]
    assert sorted(places) == places


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_any_number_of_processes_makes_the_same(processes: int) -> None:
    pieces = squares(7)
    assert sorted(make_missing(pieces, compute(processes))) == list(range(7))
    assert content(pieces) == [f"{number**2}\n".encode() * 1000 for number in range(7)]
    assert sorted(path.name for path in pieces.folder.iterdir()) == list(pieces.names)


def test_only_what_is_missing_is_made_again() -> None:
    pieces = squares(5)
    list(make_missing(pieces, compute(1)))
    (pieces.folder / pieces.names[3]).unlink()
    assert list(make_missing(pieces, compute(1))) == [3]
    assert made() == [0, 1, 2, 3, 4, 3]


def test_an_error_and_a_kill_leave_whole_pieces() -> None:
    with pytest.raises(InputError, match="seven"):
        list(make_missing(squares(9, partial(refuse, 7)), compute(1)))
    assert squares(9).missing() == [7, 8]
    with pytest.raises(KilledError):
        list(make_missing(squares(9, partial(kill_once, 8)), compute(2)))
    assert 8 in squares(9).missing()  # half of it lies aside
    list(make_missing(squares(9), compute(1)))
    assert content(squares(9))[7:] == [b"49\n" * 1000, b"64\n" * 1000]


def test_a_missing_a_doubled_and_a_foreign_piece_are_named() -> None:
    pieces = squares(4)
    list(make_missing(pieces, compute(1)))
    (pieces.folder / "0000002-beef.txt").touch()
    with pytest.raises(GlusError, match=r"holds a piece twice: 0000002-beef\.txt\. Remove"):
        pieces.require_all()
    (pieces.folder / "0000002-beef.txt").rename(pieces.folder / "notes.txt")
    with pytest.raises(GlusError, match=r"holds files that are no pieces of this work: notes\.txt"):
        pieces.require_all()
    (pieces.folder / "notes.txt").unlink()
    (pieces.folder / pieces.names[1]).unlink()
    with pytest.raises(GlusError, match=r"lacks 1 of 4 pieces: 0000001-0001\.txt"):
        pieces.require_all()
