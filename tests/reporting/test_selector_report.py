"""The selector's picture: which expressions it shows, and that equal results give equal bytes."""

from pathlib import Path

import numpy as np
from PIL import Image

from glus.metrics.by_key_frame import ByKeyFrame
from glus.reporting.selector_report import NUM_CURVES, ScoredTrack, choose_tracks, draw_selector_report


def track(family: str, error: float) -> ScoredTrack:
    targets = np.linspace(0, 0.9, 8)
    jf = ByKeyFrame(first=10.0, random=40.0, selected=70.0, oracle=80.0)
    return ScoredTrack(f"{family} {error}", family, targets + error, targets, jf)


def test_families_take_turns_from_the_middle_of_their_ranking() -> None:
    tracks = [track(family, error) for family in ("b", "a") for error in (0.5, 0.1, 0.2, 0.4, 0.3)]
    shown = [item.title for item in choose_tracks(tracks)]
    assert shown == ["a 0.3", "b 0.3", "a 0.2", "b 0.2", "a 0.4", "b 0.4"]


def test_fewer_expressions_than_panels_are_all_shown() -> None:
    tracks = [track("", error) for error in (0.1, 0.2)]
    assert len(tracks) < NUM_CURVES
    assert {item.title for item in choose_tracks(tracks)} == {item.title for item in tracks}


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    tracks = [track("a", -0.2), track("b", 1.5), track("", 0.0)]
    for name in ("one.png", "two.png"):
        draw_selector_report(tracks, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.width > image.height > 500
