"""What can be said about a scene: sentences of a small vocabulary, each with its family and its objects.

Families: `appearance` (colour, with size and shape where they are needed or not), `shape` (shape or size without
colour), `motion`, `position`, `several`. Clips of a special kind carry sentences of one sort only, under the kind's own
name, so that what the kind costs is scored apart: about motion (opposed), about two of four objects (pairs), about
appearance (all others).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

from glus.staging.synthetic.scene import COLOURS, RADII_PX, SHAPES, Scene, SceneObject

POSITION_MARGIN = 0.08  # share of the picture by which an object must lead in every frame
NUMBER_WORDS = {2: "two", 3: "three", 4: "four"}
MOVES = {direction: f"moving {direction}" for direction in ("left", "right", "up", "down")} | {
    "still": "that stays still"
}
# words before and after the noun, axis of the path, sign (which end leads)
PLACES = {
    "left": ("leftmost ", "", 0, -1),
    "right": ("rightmost ", "", 0, 1),
    "top": ("", " at the top", 1, -1),
    "bottom": ("", " at the bottom", 1, 1),
}


@dataclass(frozen=True)
class Sentence:
    """One expression: its words, its family, and the numbers of the objects that it means."""

    text: str
    family: str
    objects: tuple[int, ...]


def describe(scene: Scene, rng: np.random.Generator, per_object: int, per_family: int) -> list[Sentence]:
    """Sentences of a clip, in a fixed order.

    Args:
        per_object: most sentences about the looks of one object; in a special clip, about the same objects.
        per_family: most sentences of each other family.
    """
    if scene.kind == "twins":
        families: Iterable[Iterable[Sentence]] = (_motions(scene), _positions(scene, of_all=False))
        return [sentence for family in families for sentence in _some(family, per_family, rng)]
    if scene.kind == "opposed":
        sayable = _motions(scene)
    elif scene.kind == "pairs":
        sayable = _colour_groups(scene)
    elif scene.kind == "position":
        sayable = _positions(scene, of_all=True)
    else:
        sayable = _appearances(scene, rng)
    chosen = _few_of_each(list(sayable), per_object, rng)
    if scene.kind != "plain":
        return [Sentence(sentence.text, scene.kind, sentence.objects) for sentence in chosen]
    others = (_shapes(scene, rng), _motions(scene), _positions(scene, of_all=True), _groups(scene))
    return chosen + [sentence for family in others for sentence in _some(family, per_family, rng)]


def _few_of_each(sentences: list[Sentence], maximum: int, rng: np.random.Generator) -> list[Sentence]:
    """Up to `maximum` sentences of each object, drawn, in the order given."""
    kept: dict[tuple[int, ...], list[int]] = {}
    for index in rng.permutation(len(sentences)):
        kept.setdefault(sentences[index].objects, []).append(int(index))
    return [sentences[index] for index in sorted(index for few in kept.values() for index in few[:maximum])]


def _some(sentences: Iterable[Sentence], maximum: int, rng: np.random.Generator) -> list[Sentence]:
    """A few of the sentences, drawn, each about other objects where possible."""
    drawn = list(sentences)
    drawn = [drawn[index] for index in rng.permutation(len(drawn))]
    first_of_its_objects = {sentence.objects: sentence for sentence in reversed(drawn)}
    return [sentence for sentence in drawn if first_of_its_objects[sentence.objects] is sentence][:maximum]


def _matching(scene: Scene, condition: Callable[[SceneObject], bool]) -> tuple[int, ...]:
    return tuple(number for number, item in enumerate(scene.objects) if condition(item))


def _look(size: str, colour: str, shape: str) -> Callable[[SceneObject], bool]:
    """Whether an object has the named attributes; an empty name fits every object."""
    wanted = size, colour, shape
    return lambda item: all(not name or name == own for name, own in zip(wanted, item.attributes, strict=True))


def _phrase(size: str, colour: str, shape: str, rng: np.random.Generator) -> str:
    noun = shape or ("one", "object")[int(rng.integers(2))]
    return " ".join(word for word in ("the", size, colour, noun) if word)


def _appearances(scene: Scene, rng: np.random.Generator) -> Iterable[Sentence]:
    for colour, size, shape in product(COLOURS, ("", *RADII_PX), ("", *SHAPES)):
        objects = _matching(scene, _look(size, colour, shape))
        if len(objects) == 1:
            yield Sentence(_phrase(size, colour, shape, rng), "appearance", objects)


def _shapes(scene: Scene, rng: np.random.Generator) -> Iterable[Sentence]:
    for size, shape in product(("", *RADII_PX), ("", *SHAPES)):
        objects = _matching(scene, _look(size, "", shape))
        if len(objects) == 1:
            yield Sentence(_phrase(size, "", shape, rng), "shape", objects)


def _motions(scene: Scene) -> Iterable[Sentence]:
    """Sentences that need the motion: what is said of the looks fits another object too."""
    for (direction, words), colour, shape in product(MOVES.items(), ("", *COLOURS), ("", *SHAPES)):
        alike = _matching(scene, _look("", colour, shape))
        objects = tuple(number for number in alike if scene.objects[number].direction == direction)
        if len(objects) == 1 and len(alike) > 1:
            noun = " ".join(word for word in ("the", colour, shape or "object") if word)
            yield Sentence(f"{noun} {words}", "motion", objects)


def _positions(scene: Scene, *, of_all: bool) -> Iterable[Sentence]:
    """Who leads towards a side in every frame: among all objects, or among the twins."""
    group = range(len(scene.objects)) if of_all else range(2)
    twin = scene.objects[0]
    noun = "object" if of_all else f"{twin.colour} {twin.shape}"
    margin = POSITION_MARGIN * scene.size_px
    for before, after, axis, sign in PLACES.values():
        paths = np.stack([sign * scene.objects[number].centres[:, axis] for number in group])
        leader = int(paths[:, 0].argmax())
        if (paths[leader] >= np.delete(paths, leader, axis=0).max(axis=0) + margin).all():
            yield Sentence(f"the {before}{noun}{after}", "position", (leader,))


def _groups(scene: Scene) -> Iterable[Sentence]:
    everything = len(scene.objects)
    yield Sentence("all objects", "several", tuple(range(everything)))
    yield from _colour_groups(scene)
    for shape in SHAPES:
        objects = _matching(scene, _look("", "", shape))
        if len(objects) >= 2:
            yield Sentence(f"the {NUMBER_WORDS[len(objects)]} {shape}s", "several", objects)


def _colour_groups(scene: Scene) -> Iterable[Sentence]:
    for colour in COLOURS:
        objects = _matching(scene, _look("", colour, ""))
        if len(objects) >= 2:
            yield Sentence(f"the {colour} objects", "several", objects)
