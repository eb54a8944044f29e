"""What happens in a generated clip: objects with attributes and paths, when they are grey, absent or hidden.

A scene is drawn from numbers alone (seed, split, kind, index), so a clip never depends on how many others there are.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from glus.config import ClipKind, SyntheticConfig

REFERENCE_SIZE_PX = 64  # the radii below are for pictures of this size
RADII_PX = {"small": (7.0, 8.0), "large": (10.5, 12.0)}
COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "triangle")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
TRAVEL = (0.45, 0.60)  # share of the width that a moving object covers
NUM_PLACEMENTS = 40  # the least overlapping of so many is taken
MIN_ABSENT = 3  # frames
GLIMPSE = 3  # one over the share of a `glimpsed` clip that has colours: its end
HIDDEN = 2  # frames for which all objects of a `reappearing` clip are hidden, so that a window of four spans them
BAR_WIDTH = (0.20, 0.28)  # share of the picture


@dataclass(frozen=True)
class SceneObject:
    """One shape.

    Attributes:
        radius_px: half the extent of its shape.
        direction: key of `DIRECTIONS`.
        centres: its path, float64 [T, 2], x and y in pixels.
        opacity: 1 visible, 0 absent, between while it fades; float64 [T].
    """

    colour: str
    shape: str
    size: str
    radius_px: float
    direction: str
    centres: np.ndarray
    opacity: np.ndarray

    @property
    def attributes(self) -> tuple[str, str, str]:
        """What an appearance expression can speak of."""
        return self.size, self.colour, self.shape


@dataclass(frozen=True)
class Bar:
    """A bar in front of everything, over the whole picture in one direction."""

    vertical: bool
    start_px: float
    end_px: float


@dataclass(frozen=True)
class Scene:
    """A clip before it is drawn; later objects lie in front of earlier ones.

    Attributes:
        video_id: 12 hexadecimal digits.
        grey_frames: frames in which every object is grey.
    """

    video_id: str
    kind: ClipKind
    size_px: int
    num_frames: int
    objects: tuple[SceneObject, ...]
    grey_frames: tuple[int, ...]
    bar: Bar | None


@dataclass(frozen=True)
class _Look:
    colour: str
    shape: str
    size: str
    radius_px: float


def clip_generator(config: SyntheticConfig, split: str, kind: str, index: int) -> np.random.Generator:
    """Random numbers of one clip, independent of every other clip."""
    return np.random.default_rng(np.random.SeedSequence([config.seed, index, *f"{split}/{kind}".encode()]))


def draw_scene(config: SyntheticConfig, split: str, kind: ClipKind, index: int, rng: np.random.Generator) -> Scene:
    """Draws what happens in one clip."""
    looks = _draw_looks(config, kind, rng)
    directions = _draw_directions(len(looks), kind, rng)
    travel = rng.uniform(*TRAVEL, (NUM_PLACEMENTS, 1 if kind == "position" else len(looks), 1)) * config.size_px
    paths = _draw_paths(config, looks, directions, travel, rng)
    opacity = np.ones((len(looks), config.num_frames))
    grey = _draw_grey_frames(config, kind, rng)
    if kind == "vanishing":
        _let_one_vanish(opacity, rng)
    if kind == "reappearing":
        opacity[:, grey[:HIDDEN]] = 0
    objects = tuple(
        SceneObject(look.colour, look.shape, look.size, look.radius_px, direction, path, visible)
        for look, direction, path, visible in zip(looks, directions, paths, opacity, strict=True)
    )
    return Scene(
        hashlib.sha256(f"{config.seed}/{split}/{kind}/{index}".encode()).hexdigest()[:12],
        kind,
        config.size_px,
        config.num_frames,
        objects,
        grey,
        _draw_bar(config, objects, rng) if kind == "occluded" else None,
    )


def _draw_looks(config: SyntheticConfig, kind: ClipKind, rng: np.random.Generator) -> list[_Look]:
    """Attributes and sizes of a clip's objects."""
    chosen = _draw_attributes(config, kind, rng)
    scale = config.size_px / REFERENCE_SIZE_PX
    looks = [_Look(colour, shape, size, float(rng.uniform(*RADII_PX[size])) * scale) for colour, shape, size in chosen]
    if kind == "twins":
        looks[1] = looks[0]
    if kind in ("glimpsed", "reappearing", "opposed"):  # nothing but colour, or motion, tells one from another
        looks = [replace(look, radius_px=looks[0].radius_px) for look in looks]
    return looks


def _draw_attributes(config: SyntheticConfig, kind: ClipKind, rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """Colour, shape and size of each object: no two share all three where the kind does not say so."""
    match kind:
        case "glimpsed" | "reappearing":
            colours = _different_colours(config.num_objects, rng)
            return [(colour, *rest) for rest in [_draw_form(rng)] for colour in colours]
        case "opposed":
            return [(_one_of(COLOURS, rng), *_draw_form(rng))] * 2
        case "one_colour":
            colour, forms = _one_of(COLOURS, rng), list(product(SHAPES, RADII_PX))
            return [(colour, *forms[index]) for index in rng.permutation(len(forms))[: config.num_objects]]
        case "pairs":
            first, second = _different_colours(2, rng)
            return [(colour, *_draw_form(rng)) for colour in (first, second, first, second)]
    if kind == "twins" or rng.random() < config.distinct_colours:
        return [(colour, *_draw_form(rng)) for colour in _different_colours(config.num_objects, rng)]
    chosen: list[tuple[str, str, str]] = []
    while len(chosen) < config.num_objects:
        look = _one_of(COLOURS, rng), *_draw_form(rng)
        if look not in chosen:
            chosen.append(look)
    return chosen


def _different_colours(count: int, rng: np.random.Generator) -> list[str]:
    return [str(name) for name in rng.permutation(COLOURS)[:count]]


def _draw_form(rng: np.random.Generator) -> tuple[str, str]:
    """Shape and size."""
    return _one_of(SHAPES, rng), _one_of(tuple(RADII_PX), rng)


def _draw_directions(num_objects: int, kind: ClipKind, rng: np.random.Generator) -> list[str]:
    directions = [_one_of(tuple(DIRECTIONS), rng) for _ in range(num_objects)]
    if kind == "twins":
        directions[:2] = [str(name) for name in rng.permutation(tuple(DIRECTIONS))[:2]]
    if kind == "opposed":
        directions[0] = _one_of(tuple(OPPOSITE), rng)
        directions[1] = OPPOSITE[directions[0]]
    if kind == "glimpsed":  # where an object is seen is where it always is
        directions = ["still"] * num_objects
    if kind == "position":  # who leads towards a side goes on leading
        directions = directions[:1] * num_objects
    if kind == "occluded":  # something has to pass behind the bar
        directions[0] = _one_of(tuple(name for name in DIRECTIONS if name != "still"), rng)
    return directions


def _draw_paths(
    config: SyntheticConfig, looks: list[_Look], directions: list[str], distance: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Straight paths inside the picture, float64 [objects, T, 2]: of 40 placements the least overlapping.

    Args:
        distance: that a moving object covers, pixels, float64 [placements, objects or 1, 1].
    """
    radii = np.array([look.radius_px for look in looks])
    steps = np.array([DIRECTIONS[direction] for direction in directions], dtype=float)
    travel = distance * steps  # [placements, objects, 2]
    lowest = radii[:, None] + np.maximum(0, -travel)
    highest = config.size_px - radii[:, None] - np.maximum(0, travel)
    starts = rng.uniform(lowest, highest)
    time = np.linspace(0, 1, config.num_frames)[:, None]
    paths = starts[:, :, None] + travel[:, :, None] * time  # [placements, objects, T, 2]
    first, second = np.triu_indices(len(looks), 1)
    distances = np.linalg.norm(paths[:, first] - paths[:, second], axis=-1)
    overlap = np.maximum(0, (radii[first] + radii[second])[:, None] - distances).sum(axis=(1, 2))
    best: np.ndarray = paths[int(overlap.argmin())]
    return best


def _let_one_vanish(opacity: np.ndarray, rng: np.random.Generator) -> None:
    """One object fades, is absent for some frames and comes back where the clip is long enough."""
    num_objects, num_frames = opacity.shape
    longest = max(num_frames // 2, 2)
    length = int(rng.integers(min(MIN_ABSENT, num_frames - 2, longest), longest + 1))
    start = int(rng.integers(2, max(num_frames - length, 2) + 1))
    track = opacity[int(rng.integers(num_objects))]
    track[start : start + length] = 0
    track[start - 1] = 0.5
    if start + length < num_frames:
        track[start + length] = 0.5


def _draw_grey_frames(config: SyntheticConfig, kind: ClipKind, rng: np.random.Generator) -> tuple[int, ...]:
    if kind == "glimpsed":
        return tuple(range(config.num_frames - config.num_frames // GLIMPSE))
    if kind == "reappearing":  # from some frame of the first half on
        return tuple(range(int(rng.integers(2, config.num_frames // 2 + 1)), config.num_frames))
    if kind not in ("greyed", "starts_grey"):
        return ()
    shortest, longest = config.grey_frames
    length = int(rng.integers(shortest, longest + 1))
    start = int(rng.integers(1, config.num_frames - length + 1)) if kind == "greyed" else 0
    return tuple(range(start, start + length))


def _draw_bar(config: SyntheticConfig, objects: tuple[SceneObject, ...], rng: np.random.Generator) -> Bar:
    """A bar across the middle of the first object's path, over which all others may pass too."""
    vertical = objects[0].direction in ("left", "right")
    middle = objects[0].centres[:, 0 if vertical else 1].mean()
    half = rng.uniform(*BAR_WIDTH) * config.size_px / 2
    return Bar(vertical, float(middle - half), float(middle + half))


def _one_of(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
