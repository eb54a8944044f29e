"""Looking for what only other frames tell, for models without pretrained weights: naming and pointing.

Which of two look-alikes moves left cannot be said of one frame. A language model from scratch passes the words of a
sentence on to the mask decoder, which compares colours and sides, and never learns to look; a pretrained one has. Two
losses ask for it, which are ours and not the paper's: visual tokens have to name the words for what they show, and
[SEG] has to point at what it means.

Shapes: S clips, B expressions and R referents of all clips together, Nq query frames, T visual tokens of a clip, V
words, D language width, C prompt width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from glus.model.glus import GlusModel
from glus.model.mllm import HiddenStates

_PLACES = 16  # a side of the grid on which `pointing_loss` asks


@dataclass(frozen=True)
class Grounding:
    """Referents, what tells them apart, and where they are; which expressions are about such referents.

    Attributes:
        clip_of: int64 [R], the clip of a referent: what one or more expressions of the clip refer to.
        words: float [R, V], the words by which it is told from the others, in equal shares (`.referents`).
        coverage: float [R, T], the share of each visual token that shows the referent.
        pointed: bool [B], the expressions whose [SEG] has to point at what it means.
        weights: of the losses `naming` and `pointing`.
    """

    clip_of: Tensor
    words: Tensor
    coverage: Tensor
    pointed: Tensor
    weights: Mapping[str, float]

    def to(self, device: torch.device) -> Grounding:
        """The same on another device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)


def grounding_losses(
    model: GlusModel, hidden: HiddenStates, prompts: Tensor, grounding: Grounding, targets: Sequence[Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of `naming` and `pointing`, means over what is asked of the batch, and the two.

    Args:
        model: what reads words, and codes places.
        hidden: states of [SEG], and of all visual tokens.
        prompts: of [SEG], float [B, Nq, C].
        grounding: what there is to name and to point at.
        targets: masks, one [n, Nq, H, W] for each clip.
    """
    llama = model.language_model.model
    seen = llama.norm(hidden.visual)  # [SEG] reads in the last layer what was known before it
    places = model.masks.sam2.sam_prompt_encoder.pe_layer((_PLACES, _PLACES))
    losses = {
        "naming": naming_loss(seen, grounding, llama.embed_tokens.weight),
        "pointing": pointing_loss(prompts.flatten(0, 1), places, targets, grounding.pointed),
    }
    weights = grounding.weights
    return weights["naming"] * losses["naming"] + weights["pointing"] * losses["pointing"], losses


def naming_loss(states: Tensor, grounding: Grounding, embeddings: Tensor) -> Tensor:
    """How well visual tokens name the words for what they show.

    Cross entropy between the softmax over all words, read through their input embeddings, and the words' shares,
    weighted by how much of the referent a token shows.

    Args:
        states: float [S * T, D], clip after clip.
        grounding: what they have to name.
        embeddings: float [V, D].
    """
    states = states.unflatten(0, (-1, grounding.coverage.shape[1]))
    of_all_words = (states @ embeddings.T).logsumexp(dim=2)[grounding.clip_of]  # [R, T]
    of_its_words = torch.einsum("rtd,rd->rt", states[grounding.clip_of], grounding.words @ embeddings)
    weights = grounding.coverage * grounding.words.sum(dim=1, keepdim=True)  # 0 where no words tell it apart
    return (weights * (of_all_words - of_its_words)).sum() / weights.sum().clamp(min=1e-6)


def pointing_loss(prompts: Tensor, places: Tensor, targets: Sequence[Tensor], pointed: Tensor) -> Tensor:
    """How well prompts name the place of what is meant, in the code by which SAM-2 is told of points.

    Cross entropy between the softmax over a grid of places and the shares of the mask that lie there; 0 where no
    [SEG] has to point at anything. Scaled as in attention, so that a prompt is about as long as the code of a point.

    Args:
        prompts: float [B * Nq, C].
        places: positional encodings of the grid, float [C, h, w].
        targets: masks, one [n, Nq, H, W] for each clip; empty ones do not count.
        pointed: bool [B], whose [SEG] have to point.
    """
    masks = [functional.interpolate(target.float(), places.shape[1:], mode="area") for target in targets]
    shares = torch.cat(masks).flatten(2) * pointed[:, None, None]  # [B, Nq, h * w]
    size = shares.sum(dim=2).flatten()
    named = functional.log_softmax(prompts @ places.flatten(1) / math.sqrt(len(places)), dim=1)
    each = -(shares.flatten(0, 1) * named).sum(dim=1) / size.clamp(min=1e-6)
    return each.sum() / (size > 0).sum().clamp(min=1)
