"""Memory by hand, and the estimates at the real size against what was measured there (docs/planning.md)."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from glus.commands.plan import _as_counted
from glus.config import PRESETS, Config, load_config
from glus.planning import works
from glus.planning.live_memory import META, following
from glus.planning.machine import Room
from glus.planning.needs import changed, count_parameters, fits, missing, remedies
from glus.planning.works import segmenting, selecting, training

LIBRARIES = 0.6e9  # bytes of a process before it has a model


@pytest.fixture(scope="module")
def printed() -> Config:
    return load_config(PRESETS / "glus_s.yaml")


def test_what_lives_at_once_is_counted_and_weights_and_views_are_not():
    model = nn.Linear(64, 64, bias=False, device=META)
    with torch.no_grad(), following(model) as memory:
        first = torch.empty(256, 64, device=META)  # n = 64 KiB
        second = first + 1
        view = second.T
        third = model(second)  # views its weight
        assert (memory.live, memory.peak) == (3 << 16, 3 << 16)
        del second, view
        fourth = third * 2
        assert (memory.live, memory.peak) == (3 << 16, 3 << 16)
        del first, third
        assert memory.live == 1 << 16
    assert fourth.shape == (256, 64)


def test_what_waits_for_the_backward_pass_is_counted():
    """A square and a sum, n = 64 KiB: input, square, then the gradient of the square and that of the input."""
    with following(nn.Module()) as memory:
        values = torch.empty(256, 64, device=META, requires_grad=True)
        values.square().sum().backward()
    assert 3 << 16 <= memory.peak <= (4 << 16) + 64


def test_attention_makes_no_matrix_of_scores():
    kernel = functional.scaled_dot_product_attention
    with torch.no_grad(), following(nn.Module()) as memory:
        query = torch.empty(1, 1, 4096, 8, device=META)
        functional.scaled_dot_product_attention(query, query, query)
    assert memory.peak < 4096 * 4096
    assert functional.scaled_dot_product_attention is kernel


def test_training_by_part(root, monkeypatch):
    """AdamW keeps two values for each gradient; of the tiny size all is in 32 bits."""
    monkeypatch.chdir(root)
    config = load_config()
    parameters, work = count_parameters(config), training(config)
    assert parameters.total > sum(parameters.trained.values()) > 0
    assert work.parts["gradients"] <= 4 * sum(parameters.trained.values())
    assert work.parts["optimiser"] == 2 * work.parts["gradients"]
    assert 0 <= work.parts["weights"] - 4 * parameters.total < 1e6  # buffers
    less = training(changed(config, {"compute.activation_checkpointing": True}))
    assert less.parts["activations"] < work.parts["activations"]
    assert work.total == sum(work.parts.values())


def test_what_does_not_fit_gets_changes_until_it_does(root, monkeypatch):
    monkeypatch.chdir(root)
    config = load_config()
    assert config.compute.processes == 2
    work = training(config)

    def changes(size: float) -> list[str]:
        where = Room("a small machine", int(size), shared=True, libraries=0)
        assert not fits(work, config, where)
        return [text for text, _ in remedies(config, work, where)]

    assert changes(1.5 * work.total) == ["compute.processes: 1"]
    first, second, third, _ = changes(1)  # nothing fits
    assert (first, second) == ("compute.processes: 1", "compute.activation_checkpointing: true")
    assert third == "train.clip.samples: 1 with train.clip.accumulation: 4, the same batch of 4"


def test_the_real_size_has_the_published_parameters(printed):
    """LLaMA 7B, CLIP ViT-L/14, SAM-2 Hiera-L, adapters of rank 8 on two projections of 32 layers."""
    parameters = count_parameters(printed)
    assert parameters.trained["lora"] == 32 * 2 * 2 * 8 * 4096
    assert parameters.trained["embeddings"] == parameters.trained["lm_head"] == 32_000 * 4096
    assert 7.2e9 < parameters.total < 7.4e9


def test_estimates_at_the_real_size_are_those_measured(printed, monkeypatch):
    """One clip of 4 + 4 frames of 448 x 252 and one sentence, videos of 4 frames to label and of 8 to segment."""
    monkeypatch.setattr(works, "FRAME_PX", (252, 448))
    one = changed(printed, {"train.clip.samples": 1, "train.clip.max_expressions": 1})
    for work, measured in (
        (training(one), 19.3e9),
        (segmenting(printed, "labelling", 4), 19.7e9),
        (selecting(printed), 18.7e9),
        (segmenting(printed, "segmenting", 8), 18.9e9),
    ):
        assert abs((work.total + work.replaced + LIBRARIES) / measured - 1) < 0.15, work


def test_stored_weights_that_are_merged_into_stay_in_sight_and_need_no_room(printed):
    """64 matrices of 4096 x 4096 in bfloat16, of which a card sees nothing."""
    work, replaced = selecting(printed), 64 * 4096 * 4096 * 2
    assert work.replaced == replaced
    machine, card = (Room("", int((work.total + 7) / 0.9) + 1, shared, libraries=7) for shared in (True, False))
    assert fits(work, changed(printed, {"compute.processes": 1}), machine)
    assert sum(_as_counted(work, machine).values()) == work.total + replaced + 7
    assert sum(_as_counted(work, card).values()) == work.total + 7
    assert selecting(changed(printed, {"compute.precision": "float32"})).replaced == 0


def test_missing_weights_and_data_are_named_with_their_owners(printed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = missing(printed)
    assert "stage.roots.mevis: data/raw/mevis is not there; published at henghuiding.github.io/MeViS" in found
    assert any(line.startswith("model.base: weights/LISA-7B-v1 is not there; published at LISA") for line in found)
    assert len(found) == 7
