"""The selector: its scores do not depend on how they are batched, and a saved one scores the same."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from glus import KeyFrameSelector
from glus.errors import InputError
from glus.processing.selector_conversation import encode_context, encode_tail
from glus.processing.sentences import SCORE, asked_of_selector
from glus.processing.tokenizer import IMAGE_ID
from glus.selector import clip_reading
from glus.selector.model import Reading
from tests.selector.conftest import build_selector

EXPRESSIONS = ["the small red circle", "The  large blue square that moves", "which circle moves?"]


@torch.no_grad()
def score_alone(selector: KeyFrameSelector, clip: np.ndarray, expression: str, query: int, max_context: int) -> float:
    """One score by one whole, unshared sequence under the language model's own causal mask."""
    frames = [Image.fromarray(frame) for frame in clip]
    tokens = selector.encode_frames(selector.image_processor(frames, return_tensors="pt")["pixel_values"])
    stride = math.ceil(len(clip) / max_context)
    images = [*tokens[query % stride :: stride], tokens[query]]
    tail = encode_tail(selector.tokenizer, asked_of_selector(expression))
    ids = [*encode_context(selector.tokenizer, len(images) - 1), IMAGE_ID, *tail.ids]
    embed = selector.language_model.get_input_embeddings()
    pieces, remaining = [], iter(images)
    for token in ids:
        pieces.append(next(remaining) if token == IMAGE_ID else embed(torch.tensor([token])))
    states = selector.language_model.model(inputs_embeds=torch.cat(pieces)[None]).last_hidden_state[0]
    before_score = len(states) - len(tail.ids) + tail.ids.index(selector.tokenizer.token_id(SCORE)) - 1
    return float(selector.score_head(states[before_score]))


@pytest.mark.parametrize("places", [2, 4])
def test_visual_tokens_and_their_places_are_counted(
    selector: KeyFrameSelector, monkeypatch: pytest.MonkeyPatch, places: int
) -> None:
    per_frame = selector.encode_frames(torch.zeros(3, 3, 32, 32)).shape[1]
    monkeypatch.setattr("glus.selector.model.encode_context", lambda *_: [1, *[IMAGE_ID] * places])
    with pytest.raises(InputError, match=rf"row 0 of 1: {3 * per_frame} visual tokens for {places * per_frame} places"):
        selector.embed_context(torch.zeros(3, per_frame, 32))


@given(
    num_frames=st.integers(1, 30),
    max_context=st.integers(1, 12),
    num_expressions=st.integers(1, 3),
    batch=st.sampled_from([1, 2, 5, 36]),
    seed=st.integers(0, 99),
)
@settings(max_examples=12)
def test_scores_equal_unshared_sequences(
    num_frames: int, max_context: int, num_expressions: int, batch: int, seed: int
) -> None:
    """One frame, contexts of one to twelve, expressions of different lengths, rests of batches."""
    selector = build_selector(seed)
    clip = np.random.default_rng(seed).integers(0, 256, (num_frames, 40, 48, 3), dtype=np.uint8)
    texts = EXPRESSIONS[:num_expressions]
    scores = selector.score(clip, texts, max_context_frames=max_context, batch=batch)
    assert scores.shape == (num_expressions, num_frames)
    queries = sorted({0, num_frames // 2, num_frames - 1})
    expected = [[score_alone(selector, clip, text, query, max_context) for query in queries] for text in texts]
    np.testing.assert_allclose(scores[:, queries], expected, atol=1e-5)


def test_frames_and_expressions_have_scores_of_their_own(selector: KeyFrameSelector, clip: np.ndarray) -> None:
    """Equal scores everywhere would make every comparison here worthless."""
    scores = selector.score(clip, EXPRESSIONS)
    assert scores.std(dim=0).min() > 1e-3
    assert scores.std(dim=1).min() > 1e-3


def test_training_and_scoring_read_the_same(selector: KeyFrameSelector, clip: np.ndarray) -> None:
    """Packed rows, which are trained through, against the cached context, which scores."""
    frames = [Image.fromarray(frame) for frame in clip]
    tokens = selector.encode_frames(selector.image_processor(frames, return_tensors="pt")["pixel_values"])
    tails = [encode_tail(selector.tokenizer, asked_of_selector(text)) for text in EXPRESSIONS]
    packed = selector([Reading(tokens, tokens, tails)]).scores[0]
    torch.testing.assert_close(packed.detach(), selector.score(clip, EXPRESSIONS), atol=1e-5, rtol=0)


def test_scores_follow_permuted_expressions(selector: KeyFrameSelector, clip: np.ndarray) -> None:
    order = [2, 0, 1]
    expected = selector.score(clip, EXPRESSIONS)[order]
    found = selector.score(clip, [EXPRESSIONS[index] for index in order])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_readings_of_a_batch_do_not_touch_each_other(selector: KeyFrameSelector) -> None:
    """Rows of different lengths, padded to one; scores and predictions equal those of each row alone."""
    tails = [encode_tail(selector.tokenizer, text) for text in ("the small red circle", "it")]
    tokens = torch.randn(6, 14, 32)
    readings = [Reading(tokens[:4], tokens[4:5], tails), Reading(tokens[:2], tokens[3:], tails[1:])]
    together = selector(readings)
    alone = [selector([reading]) for reading in readings]
    for found, expected in zip(together.scores, alone, strict=True):
        torch.testing.assert_close(found, expected.scores[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(together.logits, torch.cat([part.logits for part in alone]), atol=1e-5, rtol=0)
    assert together.labels.tolist() == [*tails[0].ids[tails[0].answer_start :]] + 4 * [
        *tails[1].ids[tails[1].answer_start :]
    ]


def test_the_score_is_read_before_score_token(selector: KeyFrameSelector, clip: np.ndarray) -> None:
    """What stands at and after `[SCORE]` cannot change a score; what stands before it does."""
    expected = selector.score(clip, EXPRESSIONS[:1])
    with torch.no_grad():
        selector.language_model.get_input_embeddings().weight[selector.tokenizer.token_id(SCORE)] += 1
    torch.testing.assert_close(selector.score(clip, EXPRESSIONS[:1]), expected, atol=0, rtol=0)
    tail = encode_tail(selector.tokenizer, "it")
    assert selector.tokenizer.token_id(SCORE) not in tail.until_score().ids
    assert tail.until_score().ids[-1] == selector.tokenizer.encode("It is", bos=False)[-1]


def test_contexts_and_query_frames_are_read_once(selector: KeyFrameSelector, clip: np.ndarray) -> None:
    """Language-model tokens: each context, each frame behind it, and a tail for each pair (padded to the longest)."""
    read: list[int] = []
    first = selector.language_model.model.layers[0].mlp
    first.register_forward_pre_hook(lambda _, args: read.append(args[0][..., 0].numel()))
    selector.score(clip, EXPRESSIONS, max_context_frames=4)
    size = selector.token_merging.num_tokens
    contexts = [len(encode_context(selector.tokenizer, count)) + count * (size - 1) for count in (4, 3)]
    tails = [encode_tail(selector.tokenizer, asked_of_selector(text)).until_score() for text in EXPRESSIONS]
    longest = max(len(tail.ids) for tail in tails)
    assert sum(read) == sum(contexts) + len(clip) * (size + len(EXPRESSIONS) * longest)


def test_noise_is_drawn_once_a_frame(selector: KeyFrameSelector) -> None:
    """Patches that are alike are told apart by noise alone: a frame keeps its tokens, another seed gives others."""
    clip = np.full((4, 40, 48, 3), 128, dtype=np.uint8)
    clip[1, :20] = 90
    scores = selector.score(clip, EXPRESSIONS, noise_seed=1)
    assert torch.equal(scores, selector.score(clip, EXPRESSIONS, noise_seed=1))
    assert not torch.equal(scores, selector.score(clip, EXPRESSIONS, noise_seed=2))
    assert not torch.equal(scores, selector.score(clip, EXPRESSIONS))
    alone = selector.score(clip, EXPRESSIONS[:1], noise_seed=1)
    torch.testing.assert_close(scores[:1], alone, atol=1e-5, rtol=0)


def test_clip_sees_some_frames_at_a_time(
    selector: KeyFrameSelector, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = selector.score(clip, EXPRESSIONS[:1])
    seen: list[int] = []
    selector.vision_tower.embeddings.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    monkeypatch.setattr(clip_reading, "FRAMES_PER_PASS", 3)
    torch.testing.assert_close(selector.score(clip, EXPRESSIONS[:1]), expected, atol=1e-5, rtol=0)
    assert seen == [3, 3, 1]


def test_an_empty_expression_is_refused(selector: KeyFrameSelector, clip: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expression 1 is empty \(' \\n'\)"):
        selector.score(clip, ["it", " \n"])


def test_a_clip_without_frames_is_refused(selector: KeyFrameSelector) -> None:
    with pytest.raises(InputError, match="no frames"):
        selector.score([], ["it"])


@torch.no_grad()
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_refused(selector: KeyFrameSelector, clip: np.ndarray, value: float) -> None:
    selector.score_head[4].bias.fill_(value)
    with pytest.raises(InputError, match=rf"score of frame 0 for expression 0 \('it'\) is {value}"):
        selector.score(clip, ["it", "that"])


def test_a_saved_selector_scores_the_same(selector: KeyFrameSelector, clip: np.ndarray, tmp_path: Path) -> None:
    selector.save_pretrained(tmp_path)
    again = KeyFrameSelector.from_pretrained(tmp_path)
    torch.testing.assert_close(again.score(clip, EXPRESSIONS), selector.score(clip, EXPRESSIONS), atol=0, rtol=0)
    again.save_pretrained(tmp_path / "second")
    for file in sorted(path for path in tmp_path.iterdir() if path.is_file()):
        assert (tmp_path / "second" / file.name).read_bytes() == file.read_bytes(), file.name


def test_tensors_that_do_not_fit_are_named(selector: KeyFrameSelector, tmp_path: Path) -> None:
    selector.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["score_head.4.bias"]
    tensors["mm_projector.bias"] = torch.zeros(7)
    tensors["surplus"] = torch.zeros(1)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError) as error:
        KeyFrameSelector.from_pretrained(tmp_path)
    for part in ("missing score_head.4.bias", "mm_projector.bias has shape [7], expected [32]", "unexpected surplus"):
        assert part in str(error.value)


def test_a_selector_for_another_vocabulary_is_refused(selector: KeyFrameSelector, tmp_path: Path) -> None:
    selector.save_pretrained(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match="another vocabulary"):
        KeyFrameSelector.from_pretrained(tmp_path)


def test_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"format": "glus", "format_version": 1}')
    with pytest.raises(InputError, match="found format glus version 1, expected glus_selector"):
        KeyFrameSelector.from_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"config\.json does not exist"):
        KeyFrameSelector.from_pretrained(tmp_path / "nowhere")
