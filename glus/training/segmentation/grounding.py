"""Looking for what only other frames tell, for models without pretrained weights: naming and pointing.

Which of two look-alikes moves left cannot be said of one frame. A language model from scratch passes the words of a
sentence on to the mask decoder, which compares colours and sides, and never learns to look; a pretrained one has. Two
losses ask for it: visual tokens have to name the words for what they show, and [SEG] has to point at what it means.

Shapes: S clips, B expressions and R referents of all clips together, Nq query frames, T visual tokens of a clip, V
words, D language width, C prompt width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from glus.config import GroundingConfig
from glus.model.glus import GlusModel
from glus.model.mllm import HiddenStates
from glus.records.video import Expression

_PLACES = 16  # a side of the grid on which `pointing_loss` asks


@dataclass(frozen=True)
class Grounding:
    """Referents, what tells them apart, and where they are; which expressions are about such referents.

    Attributes:
        clip_of: int [R], the clip of a referent: what one or more expressions of the clip refer to.
        words: float [R, V], see `telling_words`.
        coverage: float [R, T], the share of each visual token that shows the referent.
        pointed: bool [B], the expressions whose [SEG] has to point at what it means.
    """

    clip_of: Tensor
    words: Tensor
    coverage: Tensor
    pointed: Tensor

    @classmethod
    def of_clips(cls, clips: Sequence[tuple[Tensor, Tensor]], pointed: Sequence[bool]) -> Grounding:
        """From words and coverage of each clip's referents, and of each expression whether its [SEG] has to point."""
        clip_of = [number for number, (words, _) in enumerate(clips) for _ in words]
        return cls(
            torch.tensor(clip_of, dtype=torch.long),
            torch.cat([words for words, _ in clips]),
            torch.cat([shown for _, shown in clips]),
            torch.tensor(pointed),
        )

    def to(self, device: torch.device) -> Grounding:
        """The same on another device."""
        return Grounding(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def by_referent(expressions: Iterable[Expression]) -> list[list[Expression]]:
    """The expressions that refer to the same, in the order of the first of them."""
    groups: dict[frozenset[str], list[Expression]] = {}
    for expression in expressions:
        groups.setdefault(frozenset(expression.annotation_ids), []).append(expression)
    return list(groups.values())


def telling_words(said: Sequence[set[int]], vocabulary: int) -> Tensor:
    """The words by which what is said of a clip's referents differs: those of each that are not said of all of them.

    Args:
        said: ids of the words that are said of each.
        vocabulary: V.

    Returns:
        Equal shares, float [referents, V]; zeros where no word is left.
    """
    words = torch.zeros(len(said), vocabulary)
    common: set[int] = set.intersection(*said) if said else set()
    for row, of_one in zip(words, said, strict=True):
        telling = sorted(of_one - common)
        row[telling] = 1 / max(len(telling), 1)
    return words


def grounding_losses(
    model: GlusModel, hidden: HiddenStates, prompts: Tensor, grounding: Grounding, targets: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Losses `naming` and `pointing`.

    Args:
        model: what reads words, and codes places.
        hidden: states of [SEG], then of all visual tokens, float [B * Nq + S * T, D].
        prompts: of [SEG], float [B * Nq, C].
        grounding: what there is to name and to point at.
        targets: masks, one [n, Nq, H, W] for each clip.
    """
    llama = model.language_model.model
    seen = llama.norm(hidden.penultimate[len(prompts) :])  # [SEG] reads in the last layer what was known before it
    places = model.masks.sam2.sam_prompt_encoder.pe_layer((_PLACES, _PLACES))
    return {
        "naming": naming_loss(seen, grounding, llama.embed_tokens.weight),
        "pointing": pointing_loss(prompts, places, targets, grounding.pointed),
    }


def weighted(losses: dict[str, Tensor], weights: GroundingConfig) -> Tensor:
    """Their weighted sum."""
    return weights.naming * losses["naming"] + weights.pointing * losses["pointing"]


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
