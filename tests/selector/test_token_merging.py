"""Token merging against a plain loop, in image and video mode; the published arrays are compared in tests/parity."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glus.selector.token_merging import TokenMerging, cluster_tokens, merge_tokens


def cluster_by_loops(tokens: np.ndarray, num_clusters: int, neighbours: int) -> list[list[int]]:
    """The rules of the clustering, one token at a time, in float64: members of each cluster."""
    if neighbours > num_clusters:
        neighbours = min(3, max(num_clusters // 2, 1))
    count, channels = tokens.shape
    distance = np.array([[np.sqrt(((a - b) ** 2).sum() / channels) for b in tokens] for a in tokens])
    density = [np.exp(-np.mean(np.sort(row)[:neighbours] ** 2)) for row in distance]
    delta = []
    for i in range(count):
        denser = [distance[i, j] for j in range(count) if density[j] > density[i]]
        delta.append(min(denser) if denser else distance.max())
    centres = sorted(range(count), key=lambda i: (-delta[i] * density[i], i))[:num_clusters]
    members: list[list[int]] = [[] for _ in centres]
    for i in range(count):
        nearest = min(range(num_clusters), key=lambda c: (distance[i, centres[c]], c))
        members[centres.index(i) if i in centres else nearest].append(i)
    return members


def merge_by_loops(tokens: np.ndarray, num_clusters: int, neighbours: int) -> np.ndarray:
    clusters = cluster_by_loops(tokens, num_clusters, neighbours)
    return np.stack([tokens[group].sum(axis=0) / (len(group) + 1e-6) for group in clusters])


@pytest.mark.parametrize(("count", "num_clusters", "neighbours"), [(64, 16, 5), (16, 8, 3), (20, 4, 3), (9, 1, 1)])
def test_equals_a_plain_loop(count: int, num_clusters: int, neighbours: int) -> None:
    tokens = np.random.default_rng(count).normal(size=(count, 12))
    batch = torch.from_numpy(tokens)[None].float()
    found = merge_tokens(batch, cluster_tokens(batch, num_clusters, neighbours))[0]
    np.testing.assert_allclose(found, merge_by_loops(tokens, num_clusters, neighbours), atol=1e-5)


@pytest.mark.parametrize("num_frames", [1, 2, 16, 17, 25])
def test_video_mode_equals_a_plain_loop(num_frames: int) -> None:
    """Events of frame means, by their first frame; each event's stages merged again to the size of one frame.

    All densities are equal (up to 25 frames to the last bit), so the first frames are the centres: one of each scene.
    """
    generator = np.random.default_rng(num_frames)
    num_events = max(math.ceil(num_frames / 16), 1)
    scenes = generator.integers(0, num_events, num_frames)
    scenes[:num_events] = range(num_events)
    frames = generator.normal(size=(num_events, 16, 12))[scenes] + 0.05 * generator.normal(size=(num_frames, 16, 12))
    merging = TokenMerging((8, 4, 2), (5, 3, 3))
    events = cluster_by_loops(frames.mean(axis=1).astype(np.float32), num_events, 5)
    expected = []
    for event in sorted(events):  # by the first frame
        levels, stages = [frames[index] for index in event], []
        for count, neighbours in zip(merging.clusters, merging.neighbours, strict=True):
            levels = [merge_by_loops(level, count, neighbours) for level in levels]
            stages.append(merge_by_loops(np.concatenate(levels), count, neighbours))
        expected.append(np.concatenate(stages))
    found = merging.merge_video(torch.from_numpy(frames).float())
    assert found.shape == (num_events, merging.num_tokens, 12)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(num_frames=st.integers(1, 70), share=st.sampled_from([1 / 16, 0.1, 0.5, 1.0]), seed=st.integers(0, 2**31))
@settings(max_examples=20)
def test_every_event_of_a_video_keeps_as_many_tokens_as_a_frame(num_frames: int, share: float, seed: int) -> None:
    tokens = torch.randn(num_frames, 8, 4, generator=torch.Generator().manual_seed(seed))
    merging = TokenMerging((4, 2), (3, 3))
    for noise in (None, torch.Generator().manual_seed(seed)):
        found = merging.merge_video(tokens, noise, event_share=share)
        assert found.shape == (max(math.ceil(num_frames * share), 1), 6, 4)
        assert found.isfinite().all()


def test_ties_go_to_the_lower_index() -> None:
    """Identical tokens have equal densities and distances everywhere."""
    found = cluster_tokens(torch.ones(1, 10, 4), 4, 3)
    assert found.centres.tolist() == [[0, 1, 2, 3]]
    assert found.assignment.tolist() == [[0, 1, 2, 3, 0, 0, 0, 0, 0, 0]]


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    tokens = torch.randn(5, 64, 8, generator=torch.Generator().manual_seed(0))
    merging = TokenMerging((16, 8, 4), (5, 3, 3))
    alone = torch.cat([merging(image[None]) for image in tokens])
    assert merging(tokens).shape == (5, merging.num_tokens, 8)
    torch.testing.assert_close(merging(tokens), alone, atol=1e-6, rtol=0)


def test_noise_is_drawn_image_by_image_and_decides_ties() -> None:
    """The next image goes on where the last one stopped; the same seed gives the same tokens."""
    tokens = torch.eye(64).expand(3, 64, 64)  # all distances equal
    merging = TokenMerging((8, 4), (3, 3))
    generator = torch.Generator().manual_seed(1)
    alone = torch.cat([merging(image[None], generator) for image in tokens])
    together = merging(tokens, torch.Generator().manual_seed(1))
    assert torch.equal(together, alone)
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(together, merging(tokens, torch.Generator().manual_seed(2)))
    assert torch.equal(merging(tokens)[0], merging(tokens)[1])


def test_more_clusters_than_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="9 tokens cannot form 16 clusters"):
        cluster_tokens(torch.zeros(1, 9, 4), 16, 5)
