"""The loop: schedules by hand, and a run that is killed ends like one that is not."""

import gc
import math
import weakref
from dataclasses import dataclass, replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from glus.config import ComputeConfig, OptimiserConfig
from glus.errors import ConfigError, GlusError
from glus.training.loop.checkpoints import Checkpoints
from glus.training.loop.engine import open_engine
from glus.training.loop.optimiser import build_optimiser, rate_factor
from glus.training.loop.phase import Hooks, Phase
from glus.training.loop.summary import describe_batch, describe_parameters
from glus.training.loop.trainer import Trainer, train_mode

COMPUTE = ComputeConfig(
    engine="local", shards=1, device="cpu", precision="float32", activation_checkpointing=False, processes=1,
    machines=1, rendezvous=None, strategy="ddp", keep_checkpoints=2, threads=1, workers=0,
)  # fmt: skip


NO_HOOKS = Hooks()


def optimiser(**changes):
    values = {
        "learning_rate": 0.1, "betas": [0.9, 0.95], "weight_decay": 0.1, "warmup_steps": 2, "schedule": "linear",
        "clip_norm": 1.0,
        "rate_factors": {},
    }  # fmt: skip
    return OptimiserConfig(**values | changes)


class Batch:
    """Inputs and targets, as a phase's batch: it only has to move."""

    num_masks = 1

    def __init__(self, values, sample_ids=("video/0",)):
        self.values = values
        self.sample_ids = sample_ids

    def to(self, _device):
        return self


class KilledError(Exception):
    pass


def run(module, phases, folder, *, every=1, log_every=1, seed=0, hooks=NO_HOOKS, compute=COMPUTE, state=None):
    """Trains in this process, or in one of those that were started together."""
    with open_engine(compute) as engine:
        checkpoints = Checkpoints(folder, every=every, keep=compute.keep_checkpoints)
        Trainer(
            module, phases, engine=engine, checkpoints=checkpoints, log_every=log_every, seed=seed, compute=compute,
            hooks=hooks, state=state,
        ).run()  # fmt: skip


def train(folder, kill_at=None, accumulation=1):
    torch.manual_seed(0)
    module = nn.ModuleDict({"first": nn.Linear(4, 4), "second": nn.Linear(4, 1), "drop": nn.Dropout(0.5)})
    logged = []

    def batch(number):
        return Batch(torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(number)))

    def loss(batch):
        inputs, targets = batch.values
        output = module["second"](module["drop"](module["first"](inputs)))
        return {"loss": (output - targets[:, :1]).pow(2).mean()}

    def on_step(step):
        if step == kill_at:
            raise KilledError

    phases = [
        Phase(name, 10, accumulation, 1, optimiser(), dict(parameters), batch, loss)
        for name, parameters in (
            ("one", [(n, p) for n, p in module.named_parameters() if n.startswith("first")]),
            ("two", module.named_parameters()),
        )
    ]
    hooks = Hooks(lambda step, phase, values, pace: logged.append((step, phase, values["loss"])), on_step)
    run(module, phases, folder, every=4, log_every=2, seed=3, hooks=hooks)
    return module.state_dict(), logged


@pytest.mark.parametrize("kill_at", [3, 4, 5, 10, 11, 17, 20])
def test_a_killed_run_ends_with_the_same_weights(tmp_path, kill_at):
    expected, logged = train(tmp_path / "whole")
    with pytest.raises(KilledError):
        train(tmp_path / "killed", kill_at)
    resumed, logged_after = train(tmp_path / "killed")
    assert all(torch.equal(resumed[name], tensor) for name, tensor in expected.items())
    assert logged_after == logged[-len(logged_after) :] if logged_after else True


def test_a_finished_run_does_nothing_more(tmp_path):
    expected, _ = train(tmp_path)
    again, logged = train(tmp_path)
    assert not logged and all(torch.equal(again[name], tensor) for name, tensor in expected.items())


def test_first_phase_trains_only_its_own(tmp_path):
    with pytest.raises(KilledError):
        train(tmp_path, kill_at=9)
    saved = load_file(tmp_path / "step-000008" / "tensors.safetensors")
    weights = {name.removeprefix("weights/"): tensor for name, tensor in saved.items()}
    torch.manual_seed(0)
    untouched = nn.ModuleDict({"first": nn.Linear(4, 4), "second": nn.Linear(4, 1)}).state_dict()
    assert torch.equal(weights["second.weight"], untouched["second.weight"])
    assert not torch.equal(weights["first.weight"], untouched["first.weight"])


def test_frozen_parts_drop_nothing_out():
    frozen = nn.TransformerEncoderLayer(4, 1, 8, dropout=0.1).requires_grad_(False)
    trained = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Dropout(0.1), nn.Linear(4, 4))
    train_mode(nn.ModuleList([frozen, trained]))
    assert not any(module.training for module in frozen.modules())
    assert trained.training and trained[1].training and trained[2].training


def test_each_part_has_its_rate_and_only_matrices_decay():
    module = nn.ModuleDict({"mm_projector": nn.Linear(2, 2), "embed_tokens": nn.Embedding(3, 2)})
    phase = Phase(
        "one", 10, 1, 1, optimiser(rate_factors={"embeddings": 0.25}, warmup_steps=0), dict(module.named_parameters()),
        lambda number: None, lambda batch: {},
    )  # fmt: skip
    adamw, _ = build_optimiser(phase, phase.parameters)
    found = {
        (group["lr"], group["weight_decay"], tuple(parameter.shape))
        for group in adamw.param_groups
        for parameter in group["params"]
    }
    assert found == {(0.1, 0.1, (2, 2)), (0.1, 0.0, (2,)), (0.025, 0.1, (3, 2))}
    with pytest.raises(ConfigError, match="rate_factors of the one phase: lm_head is not trained"):
        build_optimiser(replace(phase, optimiser=optimiser(rate_factors={"lm_head": 0.5})), phase.parameters)


def test_schedules():
    linear, cosine = optimiser(), optimiser(schedule="cosine")
    assert [rate_factor(step, 10, linear) for step in (0, 1, 2, 6, 9)] == [0.5, 1.0, 1.0, 0.5, 0.125]
    assert math.isclose(rate_factor(6, 10, cosine), 0.5)
    assert rate_factor(9, 10, optimiser(schedule="constant")) == 1.0


def failing(loss, batch):
    module = nn.Linear(1, 1)
    return module, [Phase("one", 2, 1, 1, optimiser(), dict(module.named_parameters()), lambda _: batch, loss(module))]


def test_an_infinite_loss_is_an_error_with_its_step_and_samples(tmp_path):
    batch = Batch(torch.ones(1, 1), ("mevis/7/2", "mevis/7/3"))
    module, phases = failing(lambda module: lambda batch: {"loss": module(batch.values).sum() * math.inf}, batch)
    with pytest.raises(
        GlusError, match=r"step 1 \(one\): the loss is not finite \(loss -?inf\) for mevis/7/2; mevis/7/3"
    ):
        run(module, phases, tmp_path)


def test_infinite_gradients_are_an_error_before_they_reach_the_weights(tmp_path):
    module, phases = failing(
        lambda module: lambda batch: {"loss": module(batch.values).sum().abs().sqrt() * 0}, Batch(torch.zeros(1, 1))
    )
    nn.init.zeros_(module.bias)
    with pytest.raises(
        GlusError, match=r"step 1 \(one\): the loss is not finite \(loss 0, grad_norm nan\) for video/0"
    ):
        run(module, phases, tmp_path)
    assert float(module.bias.detach()) == 0


def test_weights_that_are_not_finite_are_told_from_a_rate_that_is_too_high(tmp_path):
    module, phases = failing(lambda module: lambda batch: {"loss": module(batch.values).sum()}, Batch(torch.ones(1, 1)))
    nn.init.constant_(module.bias, math.inf)
    with pytest.raises(GlusError, match=r"\(loss inf\) for video/0; before this step these weights .*: bias\. Take"):
        run(module, phases, tmp_path)


def test_a_batch_without_masks_is_an_error_with_its_samples(tmp_path):
    batch = Batch(torch.ones(1, 1))
    batch.num_masks = 0
    module, phases = failing(lambda module: lambda batch: {"loss": module(batch.values).sum()}, batch)
    with pytest.raises(GlusError, match=r"step 1 \(one\): a batch without masks \(video/0\)"):
        run(module, phases, tmp_path)


def test_what_no_loss_reaches_is_frozen_and_named(tmp_path, caplog):
    caplog.set_level("INFO", logger="glus")
    module = nn.ModuleDict({"used": nn.Linear(2, 1), "unused": nn.Linear(2, 1)})
    before = module["unused"].weight.clone()
    phase = Phase(
        "one", 2, 1, 1, optimiser(), dict(module.named_parameters()), lambda _: Batch(torch.ones(1, 2)),
        lambda batch: {"loss": module["used"](batch.values).sum()},
    )  # fmt: skip
    run(module, [phase], tmp_path)
    assert "one: the loss does not reach unused.weight; unused.bias; frozen" in [
        each.message for each in caplog.records
    ]
    assert not module["unused"].weight.requires_grad and torch.equal(module["unused"].weight, before)


@pytest.mark.parametrize(("global_mean", "expected"), [(False, (2 + 10) / 2), (True, (1 * 2 + 3 * 10) / 4)])
def test_the_two_means_by_hand(tmp_path, global_mean, expected):
    """A step of two batches, of 1 mask with loss 2 w and of 3 masks with mean loss 10 w; w is 1."""
    module, logged = nn.ParameterDict({"w": nn.Parameter(torch.ones(()))}), []

    def batch(number):
        made = Batch((2.0, 10.0)[number])
        made.num_masks = (1, 3)[number]
        return made

    phase = Phase(
        "one", 1, 2, 1, optimiser(clip_norm=100.0), dict(module.named_parameters()), batch,
        lambda batch: {"loss": batch.values * module["w"]}, global_mean=global_mean,
    )  # fmt: skip
    run(module, [phase], tmp_path, hooks=Hooks(lambda step, phase, values, pace: logged.append(values)))
    assert logged[0]["loss"] == pytest.approx(expected)
    assert logged[0]["grad_norm"] == pytest.approx(expected)  # the loss is linear in w


@dataclass(frozen=True)
class Clip:
    pixels: torch.Tensor
    targets: list[torch.Tensor]


def test_the_log_says_what_is_trained_and_what_a_batch_looks_like(tmp_path, caplog):
    caplog.set_level("INFO", logger="glus")
    train(tmp_path)
    trained = [record.message for record in caplog.records if " trains " in record.message]
    assert trained == ["one trains other 20 float32", "two trains other 25 float32"]
    parameters = {"mm_projector.bias": nn.Parameter(torch.zeros(1200, dtype=torch.bfloat16))}
    assert describe_parameters(parameters) == "mm_projector 1,200 bfloat16"
    batch = Clip(torch.zeros(2, 3), [torch.zeros(4, dtype=torch.bool), torch.zeros(5)])
    assert describe_batch(batch) == "pixels float32 [2, 3], targets[0 of 2] bool [4]"


def test_what_was_trained_is_free_when_the_engine_has_forgotten_it():
    with open_engine(COMPUTE) as engine:
        module = nn.Linear(2, 1)
        held = weakref.ref(module)
        engine.wrap(module, lambda batch, module=module: {"loss": module(batch).sum()}, all_are_reached=True)
        del module
        gc.collect()
        assert held() is not None
        engine.forget()
        gc.collect()
        assert held() is None
