"""Sequences that share beginnings as one row of tokens, each read once: how both models are trained.

Everything that a layer does to single tokens it does to the row, which holds no padding. Attention alone goes along the
branches: stretches at one depth are read together, each with all that stands before it on its branch. So every token
has the state that it would have in a sequence of its own, up to the order of sums. (Inference keeps what was read
between calls instead, see `glus.model.sharing`.)

Shapes: T tokens, A of them asked for their states, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.llama.modeling_llama import LlamaModel

from glus.model.last_layer import last_layer

ALONG_BRANCHES = "along_branches"  # this attention among those of transformers


@dataclass(frozen=True)
class Together:
    """Stretches whose attention is computed in one call.

    Attributes:
        asking: int64 [n, q], tokens that read, counted among all that do; shorter stretches repeat their last one.
        read: int64 [n, k], tokens along each branch, likewise.
        visible: bool [n, 1, q, k].
    """

    asking: Tensor
    read: Tensor
    visible: Tensor

    def to(self, device: torch.device) -> Together:
        """The same on another device."""
        return Together(self.asking.to(device), self.read.to(device), self.visible.to(device))


@dataclass(frozen=True)
class Branches:
    """Who reads whom in a layer.

    Attributes:
        parts: calls of attention.
        places: int64 [tokens that ask], where each one's answer stands among those of all parts.
    """

    parts: tuple[Together, ...]
    places: Tensor

    def to(self, device: torch.device) -> Branches:
        """The same on another device."""
        return Branches(tuple(part.to(device) for part in self.parts), self.places.to(device))


@dataclass(frozen=True)
class Layout:
    """A row of tokens and what each of them reads.

    Attributes:
        positions: int64 [T], counted along each branch.
        asked: int64 [A], tokens whose states are wanted.
        every: every token asks; of all layers but the last.
        last: those of `asked` ask.
    """

    positions: Tensor
    asked: Tensor
    every: Branches
    last: Branches

    def to(self, device: torch.device) -> Layout:
        """The same on another device."""
        return Layout(self.positions.to(device), self.asked.to(device), self.every.to(device), self.last.to(device))


def lay_out(lengths: Sequence[int], parents: Sequence[int | None], asked: Sequence[int]) -> Layout:
    """The layout of stretches that stand one after the other in a row; made on the CPU.

    Args:
        lengths: of each stretch, in tokens.
        parents: of each stretch, the earlier one that it continues; None for a beginning.
        asked: tokens of the row whose states are wanted, in any order.
    """
    starts = [0, *accumulate(lengths)]
    branches: list[Tensor] = []
    depths: list[int] = []
    for number, parent in enumerate(parents):
        own = torch.arange(starts[number], starts[number + 1])
        branches.append(own if parent is None else torch.cat([branches[parent], own]))
        depths.append(0 if parent is None else depths[parent] + 1)
    positions = torch.cat(
        [torch.arange(len(branch))[-length:] for branch, length in zip(branches, lengths, strict=True)]
    )
    chosen = torch.tensor(asked)
    owners = torch.bucketize(chosen, torch.tensor(starts[1:]), right=True)
    by_depth: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for branch, depth, length in zip(branches, depths, lengths, strict=True):
        by_depth.setdefault(depth, []).append((branch[-length:], branch))
    answering = [((owners == owner).nonzero()[:, 0], branches[owner]) for owner in owners.unique().tolist()]
    return Layout(
        positions, chosen, _branches([*by_depth.values()], positions), _branches([answering], positions[chosen])
    )


def _branches(groups: list[list[tuple[Tensor, Tensor]]], positions: Tensor) -> Branches:
    """One call of attention for each group of (tokens that ask, tokens of their branch); the positions of who asks."""
    parts, places, before = [], torch.empty_like(positions), 0
    for group in groups:
        asking, read = (_padded([pair[side] for pair in group]) for side in (0, 1))
        visible = torch.arange(read.shape[1]) <= positions[asking].unsqueeze(-1)
        parts.append(Together(asking, read, visible.unsqueeze(1)))
        for row, (tokens, _) in enumerate(group):
            places[tokens] = before + row * asking.shape[1] + torch.arange(len(tokens))
        before += asking.numel()
    return Branches(tuple(parts), places)


def _padded(rows: list[Tensor]) -> Tensor:
    """Rows as one tensor; shorter ones repeat their last entry, so that nothing reads nothing."""
    longest = max(map(len, rows))
    return torch.stack([torch.cat([row, row[-1:].expand(longest - len(row))]) for row in rows])


def read_packed(model: LlamaModel, embeddings: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """States of the tokens that are asked, of which alone the last layer's are computed, and those that it reads.

    Args:
        model: of a language model that `reads_branches`.
        embeddings: float [T, D].
        layout: see `lay_out`, on the same device.

    Returns:
        float [A, D], after the last layer and the final norm; float [T, D], of all tokens, after the layer before.
    """
    hidden = embeddings.unsqueeze(0)
    rotation = model.rotary_emb(hidden, position_ids=layout.positions.unsqueeze(0))
    for layer in model.layers[:-1]:
        hidden = layer(hidden, position_embeddings=rotation, branches=layout.every)
    chosen = take(hidden[0], layout.asked).unsqueeze(0)
    of_chosen = tuple(part[:, layout.asked] for part in rotation)
    states = last_layer(model, hidden, rotation, chosen, of_chosen, branches=layout.last)
    return model.norm(states)[0], hidden[0]


def reads_branches(language_model: LlamaForCausalLM) -> None:
    """Lets a language model read packed rows; other calls stay those of torch's attention."""
    language_model.set_attn_implementation(ALONG_BRANCHES)


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    branches: Branches | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it, [rows, heads, length, width]; along `branches` where a row is packed."""
    if branches is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
    answers = []
    for part in branches.parts:
        asking = take(query, part.asking).transpose(1, 2)
        keys, values = (take(read, part.read).transpose(1, 2) for read in (key, value))
        found, _ = sdpa_attention_forward(module, asking, keys, values, part.visible, **options)
        answers.append(found.flatten(0, 1))
    return take(torch.cat(answers), branches.places).unsqueeze(0), None


def take(rows: Tensor, index: Tensor) -> Tensor:
    """Some of the rows [n, ...], by an index of any shape; its gradient has one order of sums on every device."""
    return functional.embedding(index, rows.flatten(1)).unflatten(-1, rows.shape[1:])


AttentionInterface.register(ALONG_BRANCHES, _attend)
AttentionMaskInterface.register(ALONG_BRANCHES, sdpa_mask)
