"""Chat-UniVi's answers, read with shared contexts, against whole prompts one by one."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from glus import KeyFrameSelector
from glus.errors import InputError
from glus.media.sources import open_frames
from glus.processing.selector_conversation import request_text
from glus.selector.scoring import score_frames
from glus.selector.sharing import context_groups
from glus.selector.untuned import yes_log_odds

EXPRESSIONS = ["the small red circle", "which square moves?"]


@torch.no_grad()
def answer_by_answer(selector: KeyFrameSelector, clip: np.ndarray, expression: str, most: int) -> list[float]:
    """Log probabilities of the pieces in which Yes and No part, from one whole prompt for each frame."""
    pixels = selector.image_processor(list(open_frames(clip)), return_tensors="pt")["pixel_values"]
    tokens = selector.encode_frames(pixels)
    found = {}
    for group in context_groups(len(tokens), most):
        context = selector.embed_context(tokens[list(group)])
        for query in group:
            yes, no = (
                selector.tokenizer.encode(f"{request_text(expression)} {answer}", bos=False) for answer in ("Yes", "No")
            )
            parting = next(index for index, pair in enumerate(zip(yes, no, strict=False)) if pair[0] != pair[1])
            prompt = torch.cat([context, tokens[query], selector.embed(yes[:parting])])[None]
            likely = selector.language_model(inputs_embeds=prompt).logits[0, -1].log_softmax(-1)
            found[query] = float(likely[yes[parting]] - likely[no[parting]])
    return [found[frame] for frame in range(len(tokens))]


def test_equals_whole_prompts(selector: KeyFrameSelector, clip: np.ndarray) -> None:
    scores = yes_log_odds(selector, clip, EXPRESSIONS, max_context_frames=3, batch=4)
    assert scores.shape == (2, len(clip))
    for expression, track in zip(EXPRESSIONS, scores, strict=True):
        np.testing.assert_allclose(track, answer_by_answer(selector, clip, expression, 3), atol=1e-5)


def test_needs_no_tuned_part(selector: KeyFrameSelector, clip: np.ndarray) -> None:
    expected = yes_log_odds(selector, clip, EXPRESSIONS)
    for parameter in selector.score_head.parameters():
        parameter.data.fill_(torch.nan)
    assert torch.equal(yes_log_odds(selector, clip, EXPRESSIONS), expected)


@pytest.mark.parametrize("score", [yes_log_odds, score_frames])
def test_sentences_that_cannot_be_asked_are_named(
    selector: KeyFrameSelector, clip: np.ndarray, score: Callable[..., torch.Tensor]
) -> None:
    with pytest.raises(InputError, match="expression 1 is empty"):
        score(selector, clip, ["the circle", "  "])
    with pytest.raises(InputError, match=r"expression 0 holds \[SCORE\]"):
        score(selector, clip, ["the [score] sign"])
    with pytest.raises(InputError, match="expression 0 holds <image>"):
        score(selector, clip, ["an <image> of a dog"])
