"""Every frame of a clip under every expression: one number each, read from the state where a prompt ends.

A context is read once for all its query frames, a query frame once for all expressions; the numbers are those of whole
prompts. Held at once: the visual tokens of all frames, the keys and values of one context and of up to `batch` query
frames behind it, and, of one layer at a time, `batch` copies of the prompt's.

`T` frames, `P` visual tokens of a frame, `B` expressions, `D` language width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from glus.errors import InputError
from glus.model.sharing import SharedCache, read_shared, read_states
from glus.selector.sharing import context_groups

if TYPE_CHECKING:
    from glus.selector.model import SelectorModel

FRAMES_PER_PASS = 32  # frames through the CLIP tower at once


@dataclass(frozen=True)
class Ending:
    """What follows the target image.

    Attributes:
        ids: the request with its expression, and as much of the answer as decides.
        position: the id whose state is read.
    """

    ids: tuple[int, ...]
    position: int


@torch.no_grad()
def read_clip(
    selector: SelectorModel,
    images: Sequence[Image.Image],
    endings: Sequence[Ending],
    read: Callable[[Tensor], Tensor],
    *,
    max_context_frames: int,
    batch: int,
    noise_seed: int | None = None,
    go_on: Callable[[], None] = lambda: None,
) -> Tensor:
    """Reads each frame as target image behind its context and before each ending, float32 [B, T].

    Args:
        images: T frames.
        endings: one for each of B expressions.
        read: final-norm states [n, D] -> one number each, [n].
        max_context_frames: see `context_groups`.
        batch: pairs of frame and expression in one forward pass.
        noise_seed: see `glus.selector.scoring.score_frames`.
        go_on: called before each forward pass; what it raises ends the reading.
    """
    noise = None if noise_seed is None else torch.Generator().manual_seed(noise_seed)
    tokens = _visual_tokens(selector, images, noise, go_on)
    numbers = torch.empty(len(endings), len(tokens))
    for group in context_groups(len(tokens), max_context_frames):
        members = torch.tensor(group)
        context = SharedCache.empty(selector.language_model.config.num_hidden_layers)
        read_shared(selector.language_model.model, selector.embed_context(tokens[members])[None], context)
        for first in range(0, len(endings), batch):
            chosen = endings[first : first + batch]
            for queries in members.split(max(1, batch // len(chosen))):
                go_on()
                found = read(_states_at_the_end(selector, context, tokens[queries], chosen))
                numbers[first : first + batch, queries] = found.view(len(queries), len(chosen)).T.float().cpu()
    return numbers


def _visual_tokens(
    selector: SelectorModel, images: Sequence[Image.Image], noise: torch.Generator | None, go_on: Callable[[], None]
) -> Tensor:
    """Visual tokens of a clip, [T, P, D], some frames at a time."""
    tokens = []
    for first in range(0, len(images), FRAMES_PER_PASS):
        go_on()
        part = images[first : first + FRAMES_PER_PASS]
        pixels = selector.image_processor(list(part), return_tensors="pt")["pixel_values"]
        tokens.append(selector.encode_frames(pixels.to(selector.mm_projector.weight.device), noise))
    return torch.cat(tokens)


def _states_at_the_end(
    selector: SelectorModel, context: SharedCache, queries: Tensor, endings: Sequence[Ending]
) -> Tensor:
    """States of query frames [Nq, P, D] behind a context that was read before, [Nq * B, D], frame by frame.

    Keys and values of the context serve all query frames, those of a query frame all expressions.
    """
    model, seen = selector.language_model.model, context.continued()
    read_shared(model, queries, seen)
    embedded = pad_sequence([selector.embed(ending.ids) for ending in endings], batch_first=True)
    positions = torch.tensor([[ending.position] for ending in endings], device=embedded.device)
    many = len(queries), 1
    states, _ = read_states(model, embedded.repeat(*many, 1), positions.repeat(many), seen.continued(keep=False))
    return states[:, 0]


def require_finite(scores: Tensor, expressions: Sequence[str]) -> None:
    """Demands that all scores [B, T] are numbers.

    Raises:
        InputError: one is not; names expression and frame.
    """
    for number, frame in (~scores.isfinite()).nonzero()[:1].tolist():
        raise InputError(
            f"the score of frame {frame} for expression {number} ({expressions[number]!r}) is"
            f" {float(scores[number, frame])}, a finite number is expected: weights that are not finite, or too"
            " large for their type (float16), give this."
        )
