"""Several continuations of one beginning in a single row, each reading its own ancestors only.

A prompt's context is common to all query frames that share it, and a query frame to all expressions. Written as a
tree and laid out in one row, with positions counted along the branch and attention cut to the branch, every token
has the state it would have in a sequence of its own, and the common part is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True)
class Node:
    """A stretch of tokens.

    Attributes:
        embeddings: float [length, D].
        parent: index in the row of the node that it continues; None for a beginning.
    """

    embeddings: Tensor
    parent: int | None


@dataclass(frozen=True)
class Packed:
    """Rows ready for the language model; shorter ones are padded on the right.

    Attributes:
        embeddings: float [R, L, D].
        positions: int64 [R, L], counted along each branch.
        mask: bool [R, 1, L, L], true where a token is read.
        starts: first token of every node of every row.
    """

    embeddings: Tensor
    positions: Tensor
    mask: Tensor
    starts: list[list[int]]


def pack(rows: Sequence[Sequence[Node]]) -> Packed:
    """Lays trees out as rows; a node's parent stands before it in the same row."""
    layouts = [_layout(row) for row in rows]
    device = rows[0][0].embeddings.device  # layouts are small and made on the CPU, then moved in one piece
    length = max(len(positions) for positions, _, _ in layouts)
    mask = torch.zeros(len(rows), 1, length, length, dtype=torch.bool)
    mask[:] = torch.eye(length, dtype=torch.bool)  # padding reads itself: a row of nothing would give NaN
    for row, (positions, branch_mask, _) in enumerate(layouts):
        mask[row, 0, : len(positions), : len(positions)] = branch_mask
    return Packed(
        pad_sequence([torch.cat([node.embeddings for node in row]) for row in rows], batch_first=True),
        pad_sequence([positions for positions, _, _ in layouts], batch_first=True).to(device),
        mask.to(device),
        [starts for _, _, starts in layouts],
    )


def _layout(row: Sequence[Node]) -> tuple[Tensor, Tensor, list[int]]:
    """Positions [L], mask [L, L] and first tokens of one row."""
    lengths = [len(node.embeddings) for node in row]
    reads = torch.eye(len(row), dtype=torch.bool)  # [nodes, nodes]: which nodes a node reads
    offsets: list[int] = []
    for index, node in enumerate(row):
        # Siblings have the same positions, as if each were the only continuation.
        offsets.append(0 if node.parent is None else offsets[node.parent] + lengths[node.parent])
        if node.parent is not None:
            reads[index] |= reads[node.parent]  # complete already: parents stand before their children
    node_of = torch.arange(len(row)).repeat_interleave(torch.tensor(lengths))
    starts = [0, *torch.tensor(lengths).cumsum(0).tolist()[:-1]]
    positions = torch.cat([torch.arange(offset, offset + n) for offset, n in zip(offsets, lengths, strict=True)])
    # Nodes to tokens; `tril` makes it causal within a node, and changes nothing between nodes, which stand in order.
    return positions, reads[node_of][:, node_of].tril(), starts
