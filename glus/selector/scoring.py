"""Every frame of a clip scored by the selector (paper B.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from glus.media.sources import Frames, open_frames
from glus.processing.selector_conversation import encode_tail
from glus.processing.sentences import asked_of_selector, require_sentences
from glus.selector.clip_reading import Ending, read_clip, require_finite
from glus.selector.model import SelectorModel


def score_frames(
    selector: SelectorModel,
    frames: Frames,
    expressions: Sequence[str],
    *,
    max_context_frames: int = 11,
    batch: int = 36,
    noise_seed: int | None = None,
    go_on: Callable[[], None] = lambda: None,
) -> Tensor:
    """Scores every frame of a clip for every expression, float32 [B, T].

    The context of frame q are the frames congruent to q modulo ceil(T / max_context_frames), so q stands among them
    and then again as the target image (published evaluation). How the reading is shared, and what is held at once: see
    `glus.selector.clip_reading`.

    Args:
        selector: in evaluation mode.
        frames: see `glus.media.sources.open_frames`.
        expressions: sentences about the clip.
        max_context_frames: published: 11.
        batch: pairs of frame and expression in one forward pass.
        noise_seed: only the parity tests give one: of the published noise of the clustering, drawn once for each frame
            of the clip; the published code draws it anew for each image of each prompt, unseeded. None: deterministic.
        go_on: called before each forward pass; what it raises ends the scoring.

    Raises:
        InputError: frames that cannot be read, a sentence that cannot be asked (`require_sentences`), or a score that
            is not a finite number.
    """
    require_sentences(expressions, selector.tokenizer.marks)
    tails = [encode_tail(selector.tokenizer, asked_of_selector(text)).until_score() for text in expressions]
    scores = read_clip(
        selector,
        open_frames(frames),
        [Ending(tail.ids, tail.score_position) for tail in tails],
        lambda states: selector.score_head(states.float())[:, 0],
        max_context_frames=max_context_frames,
        batch=batch,
        noise_seed=noise_seed,
        go_on=go_on,
    )
    require_finite(scores, expressions)
    return scores
