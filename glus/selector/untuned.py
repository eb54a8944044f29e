"""Chat-UniVi as it is, asked in words whether a frame tells enough: the off-the-shelf selector (paper Table 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from glus.media.sources import Frames, open_frames
from glus.processing.selector_conversation import request_text
from glus.processing.sentences import asked_of_selector, require_sentences
from glus.processing.tokenizer import LlamaSentencePiece
from glus.selector.clip_reading import Ending, read_clip, require_finite
from glus.selector.model import SelectorModel


@dataclass(frozen=True)
class _Question:
    """A request up to where its two answers part: in a small vocabulary they may have their first piece in common."""

    ids: tuple[int, ...]
    yes: int
    no: int


def _question(tokenizer: LlamaSentencePiece, request: str) -> _Question:
    yes, no = (tokenizer.encode(f"{request} {answer}", bos=False) for answer in ("Yes", "No"))
    parting = next(index for index, pair in enumerate(zip(yes, no, strict=False)) if pair[0] != pair[1])
    return _Question(tuple(yes[:parting]), yes[parting], no[parting])


def yes_log_odds(
    selector: SelectorModel,
    frames: Frames,
    expressions: Sequence[str],
    *,
    max_context_frames: int = 11,
    batch: int = 36,
) -> Tensor:
    """How much likelier the answer to the selector's request begins with Yes than with No: log odds, float32 [B, T].

    The paper does not say how it asks; this needs no tuned part (no `[SCORE]`, no score head), reads the same prompt
    and gives a number that frames can be ranked by.

    Args: as for `KeyFrameSelector.score`.

    Raises:
        InputError: frames that cannot be read, a sentence that cannot be asked (`require_sentences`), or numbers that
            are not finite.
    """
    require_sentences(expressions, selector.tokenizer.marks)
    questions = [_question(selector.tokenizer, request_text(asked_of_selector(text))) for text in expressions]
    yes, no = questions[0].yes, questions[0].no  # the same for all

    def log_odds(states: Tensor) -> Tensor:
        logits = selector.language_model.lm_head(states).float()
        return logits[:, yes] - logits[:, no]

    scores = read_clip(
        selector,
        open_frames(frames),
        [Ending(question.ids, len(question.ids) - 1) for question in questions],
        log_odds,
        max_context_frames=max_context_frames,
        batch=batch,
    )
    require_finite(scores, expressions)
    return scores
