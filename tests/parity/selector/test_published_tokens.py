"""Visual tokens of the published selector: CLIP's pixels and features, and the merging in image and video mode."""

import hashlib
from typing import Any

import numpy as np
import pytest
import torch

from glus.media.pictures import read_frame
from glus.selector import token_merging
from glus.selector.token_merging import EVENT_SHARE, Clusters, TokenMerging, merge_tokens
from glus.weights.selector_released import NEIGHBOURS
from tests.parity.differences import within
from tests.parity.selector.goldens import SelectorGoldens, largest, parametrised, selector_goldens

MERGING = [case for case in selector_goldens().cases.get("A", {}).get("cases", []) if case.get("file")]


def kind(case: dict[str, Any]) -> tuple[Any, ...]:
    return case["mode"], case["seed"] is None, len(case.get("events", [])) > 1


@parametrised("token merging", MERGING, kind, lambda case: case["file"].split("/")[-1].removesuffix(".npz"))
def test_token_merging(published: SelectorGoldens, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every clustering in its order: noise drawn, centres, members, merged tokens; then what the projector is given."""
    golden = published.arrays(case["file"])
    calls: list[tuple[torch.Tensor, torch.Tensor | None, Clusters]] = []
    cluster = token_merging.cluster_tokens

    def recorded(tokens: torch.Tensor, count: int, neighbours: int, noise: torch.Tensor | None) -> Clusters:
        calls.append((tokens, noise, cluster(tokens, count, neighbours, noise)))
        return calls[-1][2]

    monkeypatch.setattr(token_merging, "cluster_tokens", recorded)
    first = 1 if case["mode"] == "video" else 0  # the events are clustered before the frames
    clusters = [golden[f"s{first + stage}_index_down"].shape[1] for stage in range(len(NEIGHBOURS))]
    merging = TokenMerging(clusters, NEIGHBOURS)
    tokens = torch.from_numpy(merging_input(published, case, golden))
    generator = None if case["seed"] is None else torch.Generator().manual_seed(case["seed"])
    if case["mode"] == "video":
        share = published.json("chatunivi/config.json").get("config", {}).get("temporal_cluster_rate", EVENT_SHARE)
        merged = merging.merge_video(tokens, generator, event_share=share).flatten(0, 1)[None]
    else:
        merged = merging(tokens, generator)

    assert f"s{len(calls)}_index_down" not in golden
    for number, (given, noise, found) in enumerate(calls):
        if case["seed"] is None and f"s{number}_score" in golden:  # equals without noise: ours are the lowest
            scores, centres = golden[f"s{number}_score"], golden[f"s{number}_index_down"].astype(np.int64)
            chosen = np.take_along_axis(scores, found.centres.numpy(), axis=1)
            assert np.array_equal(chosen, np.take_along_axis(scores, centres, axis=1)), number
        else:
            assert np.array_equal(found.centres, golden[f"s{number}_index_down"]), number
        assert np.array_equal(found.assignment, golden[f"s{number}_idx_cluster"]), number
        if case["seed"] is not None:
            assert np.array_equal(noise, golden[f"s{number}_noise"]), number
        if f"s{number}_merged" in golden:
            expected = golden[f"s{number}_merged"]
            tokens_of_call = merge_tokens(given, found).numpy().reshape(expected.shape)
            within(case["file"].split("/")[-1], "merged tokens", largest(tokens_of_call, expected), 1e-5)
    if "merged" in golden:
        within(case["file"].split("/")[-1], "merged tokens", largest(merged, golden["merged"]), 1e-5)
    if "projected" in golden:
        with torch.no_grad():
            projected = published.model("chatunivi").mm_projector(merged)
        within(case["file"].split("/")[-1], "projected tokens", largest(projected, golden["projected"]), 1e-5)


def merging_input(published: SelectorGoldens, case: dict[str, Any], golden: dict[str, np.ndarray]) -> np.ndarray:
    """A case's patch features; one of two cases that differ in noise only may leave them to the other."""
    if golden.get("input", np.empty(0)).size:
        return golden["input"]
    stem = case["file"].rpartition("_")[0]
    for other in MERGING:
        if other["file"].rpartition("_")[0] == stem:
            arrays = published.arrays(other["file"])
            if arrays.get("input", np.empty(0)).size:
                return arrays["input"]
    pytest.skip(f"no file of {stem} holds its input")


@torch.no_grad()
def test_clip(published: SelectorGoldens) -> None:
    """Pixels and patch features of ordinary frames."""
    names = published.kind("A", "clip", "frames")
    golden = published.arrays("cases/A_clip.npz")
    model = published.model("chatunivi")
    frames = [read_frame(published.file(name)) for name in names]
    pixels = model.image_processor(frames, return_tensors="pt")["pixel_values"]
    for picture in (picture for name in golden if name.startswith("pixel_values") for picture in golden[name]):
        frame = listed_frame(published.kind("A", "clip"), picture, pixels)
        within("A_clip", "CLIP pixels", largest(pixels[frame], picture), 1e-6)
    features = torch.cat([model.encode_patches(part) for part in pixels.split(8)])
    within("A_clip", "CLIP patch features", largest(features, golden["patch_features"]), 1e-5)


def listed_frame(listed: dict[str, Any], picture: np.ndarray, pixels: torch.Tensor) -> int:
    """Which of the listed frames a recorded picture is: the list's hashes tell, or the picture that is nearest."""
    digest = hashlib.sha256(picture.tobytes()).hexdigest()[:16]
    if digest in listed.get("pixel_sha256_16", ()):
        return listed["pixel_sha256_16"].index(digest)
    return int((pixels - torch.from_numpy(picture)).abs().amax(dim=(1, 2, 3)).argmin())


def test_the_checkpoint_says_how_tokens_merge(published: SelectorGoldens) -> None:
    rates = published.json("chatunivi/config.json").get("config", {})
    if "spatial_cluster_rate0" not in rates:
        pytest.skip("this checkpoint leaves the cluster sizes to the code")
    merging = published.model("chatunivi").token_merging
    assert merging.clusters == tuple(rates[f"spatial_cluster_rate{stage}"] for stage in range(len(NEIGHBOURS)))
