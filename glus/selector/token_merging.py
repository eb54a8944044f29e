"""Chat-UniVi's visual tokens: density-peak clustering (DPC-KNN) merges the patches of a frame, coarser and coarser.

`B` images, `N` tokens going in, `M` clusters coming out, `C` channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Clusters:
    """One clustering of the tokens of each image.

    Attributes:
        centres: int64 [B, M], the tokens that stand for a cluster, most prominent first.
        assignment: int64 [B, N], the cluster of every token.
    """

    centres: Tensor
    assignment: Tensor


@torch.no_grad()
def cluster_tokens(tokens: Tensor, num_clusters: int, neighbours: int, noise: Tensor | None = None) -> Clusters:
    """Finds density peaks: dense tokens that are far from any denser one.

    Args:
        tokens: [B, N, C]; distances are taken in float32.
        num_clusters: `M`, at most `N`.
        neighbours: nearest tokens (the token itself included) whose distances make the density.
        noise: float [B, N] in 0..1, added to the densities times 1e-6 as published, so that equal ones are told
            apart at random. None leaves ties to the lower index: the same picture always gives the same tokens.

    Raises:
        ValueError: fewer tokens than clusters.
    """
    num_tokens, channels = tokens.shape[1:]
    if num_clusters > num_tokens:
        raise ValueError(f"{num_tokens} tokens cannot form {num_clusters} clusters")
    if neighbours > num_clusters:
        neighbours = min(3, max(num_clusters // 2, 1))
    tokens = tokens.float()
    distance = torch.cdist(tokens, tokens) / channels**0.5
    nearest = distance.topk(min(neighbours, num_tokens), dim=-1, largest=False).values
    density = (-nearest.square().mean(dim=-1)).exp()
    if noise is not None:
        density = density + noise * 1e-6
    denser = density[:, None, :] > density[:, :, None]
    farthest = distance.flatten(1).amax(dim=1)[:, None, None]
    separation = torch.where(denser, distance, farthest).amin(dim=-1)
    centres = (separation * density).argsort(dim=-1, descending=True, stable=True)[:, :num_clusters]
    to_centres = distance.gather(1, centres[:, :, None].expand(-1, -1, num_tokens))
    own_cluster = torch.arange(num_clusters, device=tokens.device).expand_as(centres)
    return Clusters(centres, to_centres.argmin(dim=1).scatter(1, centres, own_cluster))


def merge_tokens(tokens: Tensor, clusters: Clusters) -> Tensor:
    """Averages the members of each cluster: [B, N, C] -> [B, M, C], in the order of the centres."""
    shape = (tokens.shape[0], clusters.centres.shape[1], tokens.shape[2])
    index = clusters.assignment[:, :, None].expand_as(tokens)
    sizes = tokens.new_zeros(shape[:2]).scatter_add(1, clusters.assignment, torch.ones_like(tokens[:, :, 0]))
    weighted = tokens * (1 / (sizes + 1e-6)).gather(1, clusters.assignment)[:, :, None]
    return tokens.new_zeros(shape).scatter_add(1, index, weighted)


class TokenMerging(nn.Module):
    """Merges the tokens of a frame in stages and keeps the result of each; has no weights.

    Args:
        clusters: tokens left by each stage; published: 64, 32, 16 of 256.
        neighbours: neighbours of each stage's density; published: 5, 3, 3.
    """

    def __init__(self, clusters: Sequence[int], neighbours: Sequence[int]) -> None:
        super().__init__()
        self.clusters, self.neighbours = tuple(clusters), tuple(neighbours)

    @property
    def num_tokens(self) -> int:
        """`P`, the visual tokens of one frame (112 as published)."""
        return sum(self.clusters)

    def forward(self, tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Patch features [B, N, C] -> the results of all stages in a row, [B, P, C].

        `generator` draws the published noise (see `cluster_tokens`); without it the result is deterministic.
        """
        merged = []
        for num_clusters, neighbours in zip(self.clusters, self.neighbours, strict=True):
            noise = None
            if generator is not None:
                noise = torch.rand(tokens.shape[:2], generator=generator, device=generator.device).to(tokens.device)
            tokens = merge_tokens(tokens, cluster_tokens(tokens, num_clusters, neighbours, noise))
            merged.append(tokens)
        return torch.cat(merged, dim=1)
