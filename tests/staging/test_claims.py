"""Families that isolate a claim of Table 4: what tells the target is where the family says, and nowhere else.

What is asked of single frames needs no model: two scenes with the same pictures and different targets cannot be told
apart by whoever sees those pictures alone.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from test_synthetic import quiet

from glus.config import ClipKind, SyntheticConfig
from glus.masks import encode_rle
from glus.metrics.scoring import VideoTask, score_video
from glus.processing.context_frames import centre_context_frames
from glus.records.video import Expression, Video
from glus.staging.synthetic import draw_clip
from glus.staging.synthetic.expressions import Sentence, describe
from glus.staging.synthetic.rendering import COLOUR_VALUES, render
from glus.staging.synthetic.scene import OPPOSITE, Scene

CLIPS = range(8)
SIDES = {"leftmost": (0, -1), "rightmost": (0, 1), "at the top": (1, -1), "at the bottom": (1, 1)}  # axis, sign


def rendered(scene: Scene, config: SyntheticConfig) -> tuple[np.ndarray, np.ndarray]:
    """Frames and masks of a scene, without noise and on one background."""
    return render(scene, quiet(config), np.random.default_rng(0))


def all_said(scene: Scene) -> dict[str, tuple[int, ...]]:
    """Every sentence about a scene, and whom it means."""
    return {sentence.text: sentence.objects for sentence in describe(scene, np.random.default_rng(0), 99, 99)}


def colours_passed_on(scene: Scene) -> Scene:
    """The same scene, each object with the colour of the next one."""
    following = scene.objects[1:] + scene.objects[:1]
    objects = (replace(item, colour=other.colour) for item, other in zip(scene.objects, following, strict=True))
    return replace(scene, objects=tuple(objects))


@pytest.mark.parametrize("kind", ["glimpsed", "reappearing"])
@pytest.mark.parametrize("index", CLIPS)
def test_grey_frames_are_the_same_whoever_has_which_colour(
    synthetic: SyntheticConfig, kind: ClipKind, index: int
) -> None:
    scene, *_ = draw_clip(synthetic, "test", (kind, index))
    other, grey = colours_passed_on(scene), list(scene.grey_frames)
    (frames, masks), (other_frames, other_masks) = (rendered(each, synthetic) for each in (scene, other))
    np.testing.assert_array_equal(frames[grey], other_frames[grey])
    np.testing.assert_array_equal(masks, other_masks)
    assert (frames != other_frames).any()
    said, other_said = all_said(scene), all_said(other)
    in_both = said.keys() & other_said.keys()
    assert in_both and all(said[text] != other_said[text] for text in in_both)


@pytest.mark.parametrize("index", CLIPS)
def test_what_is_glimpsed_at_the_end_stays_where_it_is(synthetic: SyntheticConfig, index: int) -> None:
    scene, *_ = draw_clip(synthetic, "test", ("glimpsed", index))
    assert scene.grey_frames == tuple(range(8)) and scene.num_frames == 12
    assert not {*centre_context_frames(12, 4)} <= {*scene.grey_frames}  # some context frame shows the colours
    assert all((item.centres == item.centres[0]).all() for item in scene.objects)


@pytest.mark.parametrize("index", CLIPS)
def test_what_reappears_was_coloured_hidden_and_has_moved_on(synthetic: SyntheticConfig, index: int) -> None:
    scene, *_ = draw_clip(synthetic, "test", ("reappearing", index))
    _, masks = rendered(scene, synthetic)
    first = scene.grey_frames[0]
    seen = masks.any(axis=(2, 3))
    assert 2 <= first <= 6 and scene.grey_frames == tuple(range(first, 12))
    assert not seen[:, first : first + 2].any() and seen[:, 0].all() and seen[:, -1].any()
    assert any((item.centres[first - 1] != item.centres[first + 2]).any() for item in scene.objects) or all(
        item.direction == "still" for item in scene.objects
    )


@pytest.mark.parametrize("index", CLIPS)
def test_frames_taken_one_by_one_do_not_tell_which_look_alike_moves_where(
    synthetic: SyntheticConfig, index: int
) -> None:
    """Played backwards the clip has the same pictures, and each sentence means the other object."""
    scene, *_ = draw_clip(synthetic, "test", ("opposed", index))
    turned = (replace(it, centres=it.centres[::-1], direction=OPPOSITE[it.direction]) for it in scene.objects)
    backwards = replace(scene, objects=tuple(turned))
    (frames, masks), (other_frames, other_masks) = (rendered(each, synthetic) for each in (scene, backwards))
    np.testing.assert_array_equal(frames, other_frames[::-1])
    np.testing.assert_array_equal(masks, other_masks[:, ::-1])
    said, other_said = all_said(scene), all_said(backwards)
    assert said and said.keys() == other_said.keys()
    assert all({*said[text], *other_said[text]} == {0, 1} for text in said)


@pytest.mark.parametrize("index", CLIPS)
def test_objects_of_one_colour_are_told_apart_by_shape_and_size_alone(synthetic: SyntheticConfig, index: int) -> None:
    scene, sentences, *_ = draw_clip(synthetic, "test", ("one_colour", index))
    frames, masks = rendered(scene, synthetic)
    [colour] = {item.colour for item in scene.objects}
    for track in masks:
        inside = track[0] & np.roll(track[0], 1, 0) & np.roll(track[0], -1, 0) & np.roll(track[0], 1, 1)
        assert (np.median(frames[0][inside], axis=0) == COLOUR_VALUES[colour]).all()
    uncoloured = {item.attributes[::2] for item in scene.objects}
    assert len(uncoloured) == len(scene.objects)
    assert all(sentence.text not in (f"the {colour} object", f"the {colour} one") for sentence in sentences)


@pytest.mark.parametrize("index", CLIPS)
def test_two_pairs_of_four_objects(synthetic: SyntheticConfig, index: int) -> None:
    scene, *_ = draw_clip(synthetic, "test", ("pairs", index))
    assert sorted(all_said(scene).values()) == [(0, 2), (1, 3)]


@pytest.mark.parametrize("index", CLIPS)
def test_who_is_at_a_side_stays_there_while_all_move_alike(synthetic: SyntheticConfig, index: int) -> None:
    scene, *_ = draw_clip(synthetic, "test", ("position", index))
    centres = np.stack([item.centres for item in scene.objects])
    moved = centres - centres[:, :1]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-9)
    said = all_said(scene)
    assert said
    for text, [leader] in said.items():
        [(axis, sign)] = [where for word, where in SIDES.items() if word in text]
        others = np.delete(centres, leader, axis=0)[:, :, axis]
        assert (sign * (centres[leader, :, axis] - others) >= 5).all()  # 8 % of 64 pixels


@pytest.mark.parametrize(
    ("kind", "groups"), [("glimpsed", 3), ("reappearing", 3), ("one_colour", 3), ("opposed", 2), ("pairs", 2)]
)
def test_trivial_answers_score_what_chance_gives(synthetic: SyntheticConfig, kind: ClipKind, groups: int) -> None:
    """Targets share out the union: its mean J is one over their number, and 1 where all is hidden."""
    for index in CLIPS:
        scene, _, _, masks = draw_clip(synthetic, "test", (kind, index))
        targets = {objects: text for text, objects in all_said(scene).items()}
        assert len(targets) == groups
        sentences = [Sentence(text, kind, objects) for objects, text in sorted(targets.items())]
        scores = score_video(task_of(masks, sentences), bound_th=0.008, seed=0)
        hidden = float((~masks.any(axis=(0, 2, 3))).mean())
        union = np.mean([score.baselines["union_of_objects"][0] for score in scores])
        assert union == pytest.approx(hidden + (1 - hidden) / groups)
        empty = [score.baselines["empty"][0] for score in scores]
        unseen = [1 - masks[list(item.objects)].any(axis=(0, 2, 3)).mean() for item in sentences]
        assert empty == pytest.approx(unseen)


def task_of(masks: np.ndarray, sentences: Sequence[Sentence]) -> VideoTask:
    """A clip, of which nothing is predicted."""
    _, num_frames, height, width = masks.shape
    names = tuple(f"{frame:05d}" for frame in range(num_frames))
    nothing = {frame: encode_rle(np.zeros((height, width), bool)) for frame in range(num_frames)}
    expressions = tuple(
        Expression("v", str(number), item.text, tuple(map(str, item.objects)), tuple(map(str, item.objects)), None)
        for number, item in enumerate(sentences)
    )
    return VideoTask(
        dataset="synthetic",
        split="test",
        video=Video("v", num_frames, height, width, names, "v", ()),
        expressions=expressions,
        truth={
            str(number): {frame: encode_rle(mask) for frame, mask in enumerate(track) if mask.any()}
            for number, track in enumerate(masks)
        },
        predictions={item.expression_id: nothing for item in expressions},
    )
