"""Chat-UniVi's visual tokens: density-peak clustering (DPC-KNN) merges the patches of a frame, coarser and coarser.

`B` images, `T` frames of a video, `E` events in it, `N` tokens going in, `M` clusters coming out, `C` channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

EVENT_SHARE = 1 / 16  # events of a video, as a share of its frames
EVENT_NEIGHBOURS = 5


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
    prominence = separation * density
    if noise is None:
        centres = prominence.argsort(dim=-1, descending=True, stable=True)[:, :num_clusters]
    else:  # float32 leaves ties even so, densities of 1 have eight steps of noise; published: in the order of topk
        centres = prominence.topk(num_clusters, dim=-1).indices
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

    With a generator the densities carry the published noise (see `cluster_tokens`), drawn in the published order;
    without one the result is deterministic.

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
        """Image mode: patch features [B, N, C] -> the results of all stages in a row, [B, P, C].

        The published code merges image after image, so that each draws the noise of all its stages before the next.
        """
        parts = [tokens] if generator is None else tokens.split(1)
        return torch.cat([torch.cat(self._stages(part, generator), dim=1) for part in parts])

    def merge_video(
        self, tokens: Tensor, generator: torch.Generator | None = None, *, event_share: float = EVENT_SHARE
    ) -> Tensor:
        """Video mode: patch features [T, N, C] -> tokens of each event, [E, P, C], events by their first frame.

        Frames whose means cluster together are one event; what the stages leave of its frames is merged once more
        to the size of one frame. This is how Chat-UniVi reads consecutive frames. A `KeyFrameSelector` never does:
        text stands between its frames, and each keeps its own `P` tokens. The method is here for the parity tests.

        Up to 48 frames one neighbour makes the density, the frame itself: all are equal, and what decides is the
        noise or, without it, the order (the first frames are the centres).

        Args:
            tokens: of a whole video.
            generator: of the noise.
            event_share: events per frame; there are max(ceil(T * event_share), 1).
        """
        num_events = max(math.ceil(len(tokens) * event_share), 1)
        frames = tokens.mean(dim=1)[None]
        noise = _draw_noise(frames, generator)
        event_of = cluster_tokens(frames, num_events, EVENT_NEIGHBOURS, noise).assignment[0]
        stages = self._stages(tokens, generator)
        merged = []
        for event in dict.fromkeys(event_of.tolist()):
            levels = [stage[event_of == event].flatten(0, 1)[None] for stage in stages]
            merged.append(torch.cat([self._merge(level, index, generator) for index, level in enumerate(levels)], 1))
        return torch.cat(merged)

    def _stages(self, tokens: Tensor, generator: torch.Generator | None) -> list[Tensor]:
        """The result of each stage, [B, M, C], merged from the one before."""
        merged = []
        for stage in range(len(self.clusters)):
            tokens = self._merge(tokens, stage, generator)
            merged.append(tokens)
        return merged

    def _merge(self, tokens: Tensor, stage: int, generator: torch.Generator | None) -> Tensor:
        noise = _draw_noise(tokens, generator)
        return merge_tokens(tokens, cluster_tokens(tokens, self.clusters[stage], self.neighbours[stage], noise))


def _draw_noise(tokens: Tensor, generator: torch.Generator | None) -> Tensor | None:
    """Uniform noise for each token of [B, N, C], float32 [B, N]."""
    if generator is None:
        return None
    return torch.rand(tokens.shape[:2], generator=generator, device=generator.device).to(tokens.device)
