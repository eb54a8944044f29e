"""The generated set against plain definitions: who is visible where, what a sentence means, what never changes."""

import math
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from glus.config import ClipKind, SyntheticConfig
from glus.files import hash_file
from glus.staging.checks import worker_pool
from glus.staging.synthetic import draw_clip, write_split
from glus.staging.synthetic.expressions import POSITION_MARGIN
from glus.staging.synthetic.rendering import COLOUR_VALUES, GREY_VALUE, SQUARE_SIDE
from glus.staging.synthetic.scene import Scene, SceneObject

KINDS: tuple[ClipKind, ...] = get_args(ClipKind)
CLIPS = [(kind, index) for kind in KINDS for index in range(6)]


def hashes(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): hash_file(path) for path in sorted(root.rglob("*")) if path.is_file()}


def test_same_seed_same_bytes(synthetic: SyntheticConfig, tmp_path: Path) -> None:
    write_split(synthetic, "test", tmp_path / "one")
    with worker_pool(2) as pool:
        write_split(synthetic, "test", tmp_path / "two", pool)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    other = synthetic.model_copy(update={"seed": synthetic.seed + 1})
    write_split(other, "test", tmp_path / "three")
    assert not set(hashes(tmp_path / "one").values()) & set(hashes(tmp_path / "three").values())


def test_more_clips_leave_the_others_as_they_are(synthetic: SyntheticConfig, tmp_path: Path) -> None:
    more = synthetic.model_copy(update={"clips": {"test": dict.fromkeys(KINDS, 1) | {"plain": 3}}})
    write_split(synthetic, "test", tmp_path / "few")
    write_split(more, "test", tmp_path / "more")
    few, many = (
        {name: value for name, value in hashes(tmp_path / folder).items() if name.endswith(".jpg")}
        for folder in ("few", "more")
    )
    assert few.items() <= many.items()
    assert len(many) == len(few) + 2 * synthetic.num_frames


def test_splits_share_no_frame(synthetic: SyntheticConfig, tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_split(synthetic, split, tmp_path)
    train, test = (hashes(tmp_path / split / "JPEGImages") for split in ("train", "test"))
    assert not train.keys() & test.keys()
    assert not set(train.values()) & set(test.values())


def covers(item: SceneObject, frame: int, x: float, y: float) -> bool:
    """Whether a point lies in the shape, by its plain geometry."""
    dx, dy = x - item.centres[frame, 0], y - item.centres[frame, 1]
    radius = item.radius_px
    if item.shape == "circle":
        return math.hypot(dx, dy) <= radius
    if item.shape == "square":
        return max(abs(dx), abs(dy)) <= SQUARE_SIDE * radius
    corners = [(0, -radius), (radius, radius), (-radius, radius)]
    sides = zip(corners, corners[1:] + corners[:1], strict=True)
    return all((bx - ax) * (dy - ay) - (by - ay) * (dx - ax) >= 0 for (ax, ay), (bx, by) in sides)


def visible_at(scene: Scene, frame: int, column: int, row: int) -> int | None:
    """Number of the frontmost object at a pixel's centre."""
    x, y = column + 0.5, row + 0.5
    if scene.bar and scene.bar.start_px <= (x if scene.bar.vertical else y) <= scene.bar.end_px:
        return None
    for number, item in reversed(list(enumerate(scene.objects))):
        if item.opacity[frame] > 0 and covers(item, frame, x, y):
            return number
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_the_visible_pixels(synthetic: SyntheticConfig, kind: str) -> None:
    scene, _, _, masks = draw_clip(synthetic, "test", (kind, 0))
    size = scene.size_px
    for frame in (0, scene.num_frames // 2, scene.num_frames - 1):
        owners = [[visible_at(scene, frame, column, row) for column in range(size)] for row in range(size)]
        for number, track in enumerate(masks):
            expected = np.array([[owner == number for owner in row] for row in owners])
            assert np.count_nonzero(track[frame] ^ expected) <= 2  # centres on the outline, in float32
    assert masks.sum(axis=0).max() == 1


def quiet(config: SyntheticConfig) -> SyntheticConfig:
    return config.model_copy(update={"noise": 0.0})


@pytest.mark.parametrize(("kind", "index"), CLIPS)
def test_objects_have_their_colour_or_are_grey(synthetic: SyntheticConfig, kind: str, index: int) -> None:
    scene, _, frames, masks = draw_clip(quiet(synthetic), "test", (kind, index))
    for item, track in zip(scene.objects, masks, strict=True):
        for frame in range(scene.num_frames):
            inside = track[frame] & np.roll(track[frame], 1, 0) & np.roll(track[frame], -1, 0)
            inside &= np.roll(track[frame], 1, 1) & np.roll(track[frame], -1, 1)
            if item.opacity[frame] == 1 and inside.any():
                wanted = GREY_VALUE if frame in scene.grey_frames else COLOUR_VALUES[item.colour]
                assert (np.median(frames[frame][inside], axis=0) == wanted).all()
    assert ((masks.any(axis=(2, 3))) <= np.stack([item.opacity > 0 for item in scene.objects])).all()


@pytest.mark.parametrize(("kind", "index"), CLIPS)
def test_kinds_are_what_they_say(synthetic: SyntheticConfig, kind: str, index: int) -> None:
    scene, sentences, _, masks = draw_clip(synthetic, "test", (kind, index))
    shortest, longest = synthetic.grey_frames
    grey, areas = scene.grey_frames, masks.sum(axis=(2, 3))
    if kind in ("greyed", "starts_grey"):
        assert shortest <= len(grey) <= longest
        assert grey == tuple(range(grey[0], grey[-1] + 1))
        assert (grey[0] == 0) == (kind == "starts_grey")
    else:
        assert bool(grey) == (kind in ("glimpsed", "reappearing"))
    absent = [int((item.opacity == 0).sum()) for item in scene.objects]
    if kind == "vanishing":
        assert (sum(count > 0 for count in absent), max(absent) >= 3) == (1, True)
    else:
        assert set(absent) == ({2} if kind == "reappearing" else {0})
    assert all(item.opacity[0] == 1 for item in scene.objects)
    if kind == "occluded":
        assert areas[0].min() <= 0.6 * areas[0].max()
    looks = [item.attributes for item in scene.objects]
    if kind != "pairs":
        assert len(set(looks)) == len(looks) - (kind in ("twins", "opposed"))
    if kind == "twins":
        assert scene.objects[0].direction != scene.objects[1].direction
        assert {sentence.family for sentence in sentences} <= {"motion", "position"}
    elif kind != "plain":
        assert {sentence.family for sentence in sentences} == {kind}
    assert sentences


def said_of(text: str, scene: Scene) -> tuple[str, tuple[int, ...]]:
    """Family and objects of a sentence, by its words and the scene alone."""
    words = set(re.findall(r"[a-z]+", text.replace("objects", "").replace("circles", "circle")))
    words |= {"square"} if "squares" in words else set()
    words |= {"triangle"} if "triangles" in words else set()
    objects = list(enumerate(scene.objects))
    for kind, names in (("colour", ("red", "green", "blue", "yellow")), ("shape", ("circle", "square", "triangle"))):
        for name in words & set(names):
            objects = [(number, item) for number, item in objects if getattr(item, kind) == name]
    for name in words & {"small", "large"}:
        objects = [(number, item) for number, item in objects if item.size == name]
    if "moving" in words or "still" in words:
        named = words & {"left", "right", "up", "down", "still"}
        return "motion", tuple(number for number, item in objects if item.direction in named)
    for word, axis, sign in (("leftmost", 0, -1), ("rightmost", 0, 1), ("top", 1, -1), ("bottom", 1, 1)):
        if word in words:
            where = {number: sign * item.centres[:, axis] for number, item in objects}
            margin = POSITION_MARGIN * scene.size_px
            leaders = [
                number
                for number, own in where.items()
                if all((own >= path + margin).all() for other, path in where.items() if other != number)
            ]
            return "position", tuple(leaders)
    if re.search(r"s$", text) and "stays" not in text:
        return "several", tuple(number for number, _ in objects)
    family = "appearance" if words & {"red", "green", "blue", "yellow"} else "shape"
    return family, tuple(number for number, _ in objects)


@pytest.mark.parametrize(("kind", "index"), [*CLIPS, *(("plain", index) for index in range(6, 40))])
def test_sentences_mean_what_they_say(synthetic: SyntheticConfig, kind: str, index: int) -> None:
    scene, sentences, _, masks = draw_clip(synthetic, "train", (kind, index))
    families = [sentence.family for sentence in sentences]
    for sentence in sentences:
        family, objects = said_of(sentence.text, scene)
        assert objects == sentence.objects, sentence.text
        assert sentence.family == (family if kind in ("plain", "twins") else kind)
        assert family == {"opposed": "motion", "pairs": "several", "position": "position"}.get(
            kind, "appearance"
        ) or kind in ("plain", "twins")
        assert len(objects) > 1 if family == "several" else len(objects) == 1
        if family == "motion":  # the looks alone fit another object too
            looks_only = re.sub(r" (moving|that stays) \w+$", "", sentence.text)
            assert len(said_of(looks_only, scene)[1]) > 1
        assert masks[list(objects)].any(axis=(1, 2, 3)).all()
    most = synthetic.other_sentences["train"]
    assert all(families.count(family) <= most for family in set(families) - {"appearance", kind})
    assert len({(sentence.text) for sentence in sentences}) == len(sentences)


def test_few_sentences_of_each_object_where_few_are_asked_for(synthetic: SyntheticConfig) -> None:
    few = synthetic.model_copy(update={"appearance_sentences": {"train": 1}, "other_sentences": {"train": 0}})
    for index in range(6):
        _, sentences, _, _ = draw_clip(few, "train", ("plain", index))
        objects = [sentence.objects for sentence in sentences]
        assert len(objects) == len(set(objects)) and {sentence.family for sentence in sentences} == {"appearance"}


def test_every_object_of_its_own_colour_has_its_four_sentences(synthetic: SyntheticConfig) -> None:
    distinct = synthetic.model_copy(update={"distinct_colours": 1.0})
    for index in range(10):
        scene, sentences, _, _ = draw_clip(distinct, "train", ("plain", index))
        assert len({item.colour for item in scene.objects}) == len(scene.objects)
        spoken = [sentence.objects for sentence in sentences if sentence.family == "appearance"]
        assert all(spoken.count((number,)) == 4 for number in range(len(scene.objects)))


@pytest.mark.parametrize("size_px", [64, 128])
def test_sizes_and_paths_follow_the_recipe(synthetic: SyntheticConfig, size_px: int) -> None:
    config = synthetic.model_copy(update={"size_px": size_px, "distinct_colours": 0.0})
    for index in range(20):
        scene, _, frames, masks = draw_clip(config, "train", ("plain", index))
        assert frames.shape == (config.num_frames, size_px, size_px, 3)
        assert masks.shape == (config.num_objects, config.num_frames, size_px, size_px)
        for item in scene.objects:
            low, high = (7, 8) if item.size == "small" else (10.5, 12)
            assert low <= item.radius_px * 64 / size_px <= high
            travel = np.linalg.norm(item.centres[-1] - item.centres[0]) / size_px
            assert travel == 0 if item.direction == "still" else 0.45 <= travel <= 0.60
            assert (item.centres >= item.radius_px).all()
            assert (item.centres <= size_px - item.radius_px).all()
