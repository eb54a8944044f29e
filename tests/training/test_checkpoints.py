"""States to resume from: what was written comes back, the newest whole one is taken, a full disk spoils nothing."""

import errno

import pytest
import torch
from test_loop import Batch, optimiser, run
from torch import nn

from glus.errors import InputError
from glus.training.loop import checkpoints as module
from glus.training.loop.checkpoints import Checkpoints, State, join_tensors, split_tensors
from glus.training.loop.engine import require_deepspeed
from glus.training.loop.phase import Phase


def state(step):
    return State(step, {"weights/w": torch.arange(6.0).reshape(2, 3).T + step}, {"rows": [{"b": 1, "a": 0.1}]})


@pytest.fixture
def states(tmp_path):
    made = Checkpoints(tmp_path, every=1, keep=2)
    for step in (1, 2, 3):
        made.save(state(step))
    return made


def test_the_last_ones_are_kept_and_come_back(states):
    assert states.steps() == [2, 3] and states.newest() == 3
    back = states.load(3)
    assert torch.equal(back.tensors["weights/w"], state(3).tensors["weights/w"])
    assert list(back.facts["rows"][0].items()) == [("b", 1), ("a", 0.1)]
    states.drop_from(3)
    assert states.steps() == [2]


def test_a_copy_that_somebody_keeps_there_is_left_alone(states, tmp_path):
    (tmp_path / "step-000003").rename(tmp_path / "step-000003.kept")
    states.save(state(4))
    assert states.steps() == [2, 4] and (tmp_path / "step-000003.kept").is_dir()


@pytest.mark.parametrize("file", ["tensors.safetensors", "facts.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_one_is_named_and_the_one_before_taken(states, tmp_path, caplog, file, damage):
    path = tmp_path / "step-000003" / file
    content = bytearray(path.read_bytes())
    content[-9] ^= 1  # the last entry of the tensor; a figure of the step
    path.unlink() if damage == "gone" else path.write_bytes(
        content[: len(content) // 2] if damage == "cut" else content
    )
    assert states.newest() == 2
    assert "step-000003 is damaged" in caplog.text


def test_a_full_disk_leaves_the_ones_before(states, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        states.save(state(4))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000002", "step-000003"]
    assert states.newest() == 3


def test_plain_data_with_tensors_comes_back():
    tensors = {}
    rows = torch.arange(4.0).reshape(2, 2)
    value = {"keys": [("v", "0", ["a"])], "vectors": list(rows), "none": None}
    plain = split_tensors(value, "state", tensors)
    back = join_tensors(plain, tensors)
    assert back["keys"] == [["v", "0", ["a"]]] and back["none"] is None
    assert torch.equal(torch.stack(back["vectors"]), rows)


def trained(width, names=("first",)):
    model = nn.ModuleDict({name: nn.Linear(2, width) for name in names})

    def loss(batch):
        return {"loss": sum(layer(batch.values).sum() for layer in model.values())}

    return model, [
        Phase("one", 2, 1, 1, optimiser(), dict(model.named_parameters()), lambda _: Batch(torch.ones(1, 2)), loss)
    ]


def test_a_state_of_other_parameters_is_refused_with_the_difference(tmp_path):
    run(*trained(3), tmp_path)
    with pytest.raises(InputError, match=r"first.weight has shape \[3, 2\] in it, \[4, 2\] now; first.bias has shape"):
        run(*trained(4), tmp_path)
    with pytest.raises(
        InputError, match=r"second.weight is not in it; second.bias is not in it; first.bias is not trained now"
    ):
        run(*trained(3, ("second",)), tmp_path)


def test_machines_without_a_common_folder_are_told(states):
    with pytest.raises(InputError, match="machines that train together share the project's folder"):
        states.load(7)


def test_deepspeed_is_not_quietly_replaced(monkeypatch):
    monkeypatch.setattr("glus.training.loop.engine.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"install the extra `glus\[deepspeed\]`"):
        require_deepspeed(torch.device("cuda"))
    monkeypatch.setattr("glus.training.loop.engine.find_spec", lambda name: object())
    with pytest.raises(InputError, match="which is for GPUs"):
        require_deepspeed(torch.device("cpu"))
