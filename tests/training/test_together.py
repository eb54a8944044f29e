"""Any number of processes trains what one trains: equal samples, losses and weights equal up to rounding."""

import os
import signal
from itertools import chain

import pytest
import torch
from test_loop import COMPUTE, Batch, optimiser, run
from together import together
from torch import nn

from glus.errors import ConfigError, KilledError
from glus.training.loop.group import from_first, gather_in_order, num_processes, rank, sum_values
from glus.training.loop.phase import Hooks, Phase
from glus.training.segmentation.batch import TokenKey
from glus.training.segmentation.contrastive import TokenBank

STEPS, ACCUMULATION = 8, 6


class StoppedError(Exception):
    """A run that ends between two checkpoints."""


class LlamaDecoderLayer(nn.Sequential):
    """Of the name of a block that FSDP shards by itself."""


def train(folder, stop=None, strategy="ddp", global_mean=False, phases=1):
    """Six batches a step through a module with a part that no loss reaches, dropout and a bank of tokens."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = nn.ModuleDict({
        "block": LlamaDecoderLayer(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3)), "head": nn.Linear(3, 2),
        "unused": nn.Linear(3, 1), "drop": nn.Dropout(0.5),
    })  # fmt: skip
    bank, spoken, seen, losses = TokenBank(6), [], [], []

    def batch(number):
        made = Batch((number, torch.randn(5, 3, generator=torch.Generator().manual_seed(number))))
        made.num_masks = 1 + number % 3
        return made

    def loss(batch):
        number, inputs = batch.values
        seen.append(number)
        output = module["block"](module["drop"](inputs))
        spoken.append(([TokenKey("video", str(number), "0", frozenset())], output.detach()[:1]))
        return {"loss": (module["head"](output) - inputs[:, :2]).pow(2).mean()}

    def end_step():
        for keys, vectors in gather_in_order(spoken):
            bank.insert(keys, vectors)
        spoken.clear()

    def on_step(step):
        if step == stop:
            raise StoppedError

    names = [[name for name, _ in module.named_parameters() if part in name] for part in ("", "block")]
    parts = [
        Phase(
            f"phase {number}", STEPS // phases, ACCUMULATION, 1, optimiser(weight_decay=0.1),
            {name: each for name, each in module.named_parameters() if name in names[phases - 1 - number]}, batch,
            loss, end_step=end_step, global_mean=global_mean,
        )
        for number in range(phases)
    ]  # fmt: skip
    hooks = Hooks(lambda step, phase, values, pace: losses.append((step, values["loss"], values["grad_norm"])), on_step)
    compute = COMPUTE.model_copy(update={"strategy": strategy})
    try:
        run(module, parts, folder, every=2, seed=1, hooks=hooks, compute=compute, state={"bank": bank})
    except StoppedError:
        return seen, losses, None, None
    weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    return seen, losses, weights, bank.state_dict()


def assert_equal_weights(found, expected):
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_one_two_three_and_one_again_train_what_one_trains(tmp_path):
    seen, losses, weights, bank = train(tmp_path / "alone")
    folder, parts = tmp_path / "many", []
    parts.append([train(folder, 3)])
    parts.append(together(2, train, folder, 5))
    parts.append(together(3, train, folder, 7))
    parts.append([train(folder)])
    drawn = [sorted(chain.from_iterable(process[0] for process in part)) for part in parts]
    assert sorted(seen) == list(range(STEPS * ACCUMULATION))
    assert drawn == [list(range(first * 6, last * 6)) for first, last in ((0, 3), (2, 5), (4, 7), (6, 8))]
    logged = {step: values for part in parts for step, *values in part[0][1]}
    for step, *values in losses:
        assert logged[step] == pytest.approx(values, rel=1e-5)
    assert_equal_weights(parts[-1][0][2], weights)
    after = parts[-1][0][3]
    assert [tuple(key) for key in after["keys"]] == [tuple(key) for key in bank["keys"]]
    torch.testing.assert_close(torch.stack(after["vectors"]), torch.stack(bank["vectors"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("strategy", "phases"), [("fsdp", 1), ("fsdp", 2), ("ddp", 2)])
def test_other_strategies_and_phases_train_the_same_and_resume_each_other(tmp_path, strategy, phases):
    _, losses, weights, _ = train(tmp_path / "alone", phases=phases)
    parts = [together(2, train, tmp_path / "two", stop, strategy, False, phases) for stop in (3, None)]
    parts[-1] += [train(tmp_path / "two", phases=phases)]  # a finished one, in one process
    logged = {step: values for part in parts for step, *values in part[0][1]}
    assert len(logged) == len(losses)
    for step, *values in losses:
        assert logged[step] == pytest.approx(values, rel=1e-5)
    for process in parts[-1]:
        assert_equal_weights(process[2], weights)


def test_the_mean_over_all_masks_is_that_of_one_process(tmp_path):
    _, losses, weights, _ = train(tmp_path / "alone", global_mean=True)
    for process in together(3, train, tmp_path / "three", None, "ddp", True):
        assert [pytest.approx(values, rel=1e-5) for values in losses] == process[1]
        assert_equal_weights(process[2], weights)


def refused(folder):
    with pytest.raises(ConfigError, match="6 batches per step cannot be shared by 4 processes"):
        train(folder)
    return True


def test_processes_that_do_not_get_equal_shares_are_refused(tmp_path):
    assert together(4, refused, tmp_path) == 4 * [True]


def test_half_a_base_is_sharded_beside_what_is_trained(tmp_path):
    """Frozen bfloat16 and trained float32 parameters in one shard."""
    assert together(2, train_half, tmp_path) == [True, True]


def train_half(folder):
    torch.manual_seed(0)
    module = nn.ModuleDict({"base": nn.Linear(4, 4, dtype=torch.bfloat16), "head": nn.Linear(4, 2)})
    before = module["head"].weight.detach().clone()
    phase = Phase(
        "one", 2, 2, 1, optimiser(), {name: each for name, each in module.named_parameters() if "head" in name},
        lambda number: Batch(torch.ones(1, 4)),
        lambda batch: {"loss": module["head"](module["base"](batch.values)).pow(2).mean()},
    )  # fmt: skip
    run(module, [phase], folder, compute=COMPUTE.model_copy(update={"strategy": "fsdp", "precision": "bfloat16"}))
    assert module["base"].weight.dtype == torch.bfloat16 and module["head"].weight.dtype == torch.float32
    return bool((module["head"].weight != before).all())


def test_a_killed_process_that_makes_batches_ends_the_run(tmp_path):
    first = os.getpid()

    def batch(number):
        if number == 3 and os.getpid() != first:
            os.kill(os.getpid(), signal.SIGKILL)
        return Batch((number, torch.ones(1)))

    module = nn.ParameterDict({"weight": nn.Parameter(torch.ones(1))})
    phase = Phase(
        "one", 6, 1, 1, optimiser(), dict(module.named_parameters()), batch,
        lambda batch: {"loss": module["weight"].pow(2).sum()},
    )  # fmt: skip
    with pytest.raises(KilledError, match="A process that makes training batches"):
        run(module, [phase], tmp_path, compute=COMPUTE.model_copy(update={"workers": 1}))


def test_a_process_alone_is_a_group_of_one():
    assert (rank(), num_processes()) == (0, 1)
    assert sum_values({"a": 2.0}) == {"a": 2.0} and gather_in_order([1, 2]) == [1, 2] and from_first("a") == "a"
