"""Token merging against the published code's arrays and against a plain loop."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from glus.selector.token_merging import TokenMerging, cluster_tokens, merge_tokens

STAGES = 3


def image_cases(shared: Path) -> list[dict]:
    listed = shared / "goldens/selector/cases.json"
    if not listed.is_file():
        pytest.skip(f"no selector goldens: {listed}")
    cases = json.loads(listed.read_text())["A"]["cases"]
    found = [case for case in cases if case["mode"] == "image" and case.get("file")]
    if not found:
        pytest.skip(f"{listed} holds no image-mode token merging")
    return found


def test_equals_the_published_tokens(shared: Path) -> None:
    folder = shared / "goldens/selector"
    cases = image_cases(shared)
    inputs = {
        case["file"].rsplit("_", 1)[0]: data["input"]
        for case in cases
        if "input" in (data := np.load(folder / case["file"])).files
    }
    for case in cases:
        golden = np.load(folder / case["file"])
        tokens = torch.from_numpy(inputs[case["file"].rsplit("_", 1)[0]])
        generator = None if case["seed"] is None else torch.Generator().manual_seed(case["seed"])
        merging = TokenMerging((64, 32, 16), (5, 3, 3))
        output = merging(tokens, generator)
        stages = output.split(merging.clusters, dim=1)
        previous = tokens
        for index in range(STAGES):
            noise = torch.from_numpy(golden[f"s{index}_noise"]) if f"s{index}_noise" in golden.files else None
            found = cluster_tokens(previous, merging.clusters[index], merging.neighbours[index], noise)
            if case["seed"] is None or noise is not None:
                np.testing.assert_array_equal(found.centres, golden[f"s{index}_index_down"], err_msg=case["file"])
                np.testing.assert_array_equal(found.assignment, golden[f"s{index}_idx_cluster"], err_msg=case["file"])
            previous = stages[index]
            if f"s{index}_merged" in golden.files:
                expected = golden[f"s{index}_merged"].reshape(previous.shape)
                np.testing.assert_allclose(previous, expected, atol=1e-5, err_msg=case["file"])
        if "merged" in golden.files:
            np.testing.assert_allclose(output, golden["merged"], atol=1e-5, err_msg=case["file"])


def merge_by_loops(tokens: np.ndarray, num_clusters: int, neighbours: int) -> np.ndarray:
    """The six rules of the clustering, one token at a time, in float64."""
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
    return np.stack([tokens[group].sum(axis=0) / (len(group) + 1e-6) for group in members])


@pytest.mark.parametrize(("count", "num_clusters", "neighbours"), [(64, 16, 5), (16, 8, 3), (20, 4, 3), (9, 1, 1)])
def test_equals_a_plain_loop(count: int, num_clusters: int, neighbours: int) -> None:
    tokens = np.random.default_rng(count).normal(size=(count, 12))
    batch = torch.from_numpy(tokens)[None].float()
    found = merge_tokens(batch, cluster_tokens(batch, num_clusters, neighbours))[0]
    np.testing.assert_allclose(found, merge_by_loops(tokens, num_clusters, neighbours), atol=1e-5)


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


def test_seeded_noise_repeats_and_decides_ties() -> None:
    tokens = torch.eye(64)[None]  # all distances equal
    merging = TokenMerging((4,), (3,))
    centres = [
        cluster_tokens(tokens, 4, 3, torch.rand(1, 64, generator=torch.Generator().manual_seed(seed))).centres.tolist()
        for seed in (1, 1, 2)
    ]
    assert centres[0] == centres[1] != centres[2]
    torch.testing.assert_close(
        merging(tokens, torch.Generator().manual_seed(1)), merging(tokens, torch.Generator().manual_seed(1))
    )


def test_more_clusters_than_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="9 tokens cannot form 16 clusters"):
        cluster_tokens(torch.zeros(1, 9, 4), 16, 5)
