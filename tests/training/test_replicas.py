"""Two processes that share the batches of a step train what one process trains with all of them."""

import os
import signal

import pytest
import torch
from test_loop import COMPUTE, Batch, optimiser
from torch import nn

from glus.errors import GlusError, KilledError
from glus.training.loop.distributed import gather_in_order, num_replicas, rank, replicas
from glus.training.loop.phase import IGNORE, Phase
from glus.training.loop.trainer import Trainer
from glus.training.segmentation.batch import TokenKey
from glus.training.segmentation.contrastive import TokenBank


def train(folder, fail=False):
    """Four batches a step through a module with a part that only some batches use, tokens banked in order."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = nn.ModuleDict({"always": nn.Linear(3, 3), "sometimes": nn.Linear(3, 1), "drop": nn.Dropout(0.5)})
    bank, spoken = TokenBank(6), []

    def batch(number):
        inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(number))
        return Batch((number, inputs))

    def loss(batch):
        number, inputs = batch.values
        if fail and rank() == 1 and number > 8:
            raise ValueError("a broken frame")
        output = module["always"](module["drop"](inputs))
        spoken.append(([TokenKey("video", str(number), "0", frozenset())], output.detach()[:1]))
        extra = module["sometimes"](output).mean() if number % 4 == 3 else 0.0
        return {"loss": output.pow(2).mean() + extra}

    def end_step():
        for keys, vectors in gather_in_order(spoken):
            bank.insert(keys, vectors)
        spoken.clear()

    phase = Phase("one", 6, 4, optimiser(), dict(module.named_parameters()), batch, loss, end_step=end_step)
    trainer = Trainer(
        module, [phase], checkpoints=folder, checkpoint_every=2, log_every=1, seed=1, compute=COMPUTE, hooks=IGNORE,
        state={"bank": bank},
    )  # fmt: skip
    trainer.run()
    return module.state_dict(), bank.state_dict()


def test_two_processes_train_what_one_does(tmp_path):
    expected, expected_bank = train(tmp_path / "alone")
    with replicas(2, train, tmp_path / "together"):
        assert num_replicas() == 2 and rank() == 0
        weights, bank = train(tmp_path / "together")
    assert num_replicas() == 1
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-5, atol=1e-6)
    assert bank["keys"] == expected_bank["keys"]
    torch.testing.assert_close(bank["vectors"], expected_bank["vectors"], rtol=1e-4, atol=1e-5)
    saved = torch.load(tmp_path / "together" / "last.pt", weights_only=True)["weights"]
    assert all(torch.equal(saved[name], tensor) for name, tensor in weights.items())


def test_the_failure_of_another_process_ends_the_run(tmp_path, capfd):
    with (
        pytest.raises(GlusError, match="1 of the 1 other training processes failed"),
        replicas(2, train, tmp_path, True),
    ):
        train(tmp_path, fail=True)
    assert "a broken frame" in capfd.readouterr().err


def test_a_killed_process_that_makes_batches_ends_the_run(tmp_path):
    first = os.getpid()

    def batch(number):
        if number == 3 and os.getpid() != first:
            os.kill(os.getpid(), signal.SIGKILL)
        return Batch((number, torch.ones(1)))

    weight = nn.Parameter(torch.ones(1))
    phase = Phase("one", 6, 1, optimiser(), {"weight": weight}, batch, lambda batch: {"loss": weight.pow(2).sum()})
    trainer = Trainer(
        nn.ParameterDict({"weight": weight}), [phase], checkpoints=tmp_path, checkpoint_every=2, log_every=1, seed=1,
        compute=COMPUTE.model_copy(update={"workers": 1}), hooks=IGNORE,
    )  # fmt: skip
    with pytest.raises(KilledError, match="A process that makes training batches"):
        trainer.run()
