"""A model on disk is the model in memory, and files that do not fit are refused by name."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from glus import GLUS
from glus.errors import ArtifactError, InputError
from glus.inference import segment_video
from glus.manifest import write_manifest
from glus.weights.folder import WEIGHTS
from glus.weights.saved import save_glus


@pytest.fixture
def saved(model, tmp_path):
    save_glus(model, model.state_dict(), tmp_path / "model")
    return tmp_path / "model"


def test_round_trip(always_seg, saved, frames):
    loaded = GLUS.from_pretrained(saved)
    assert loaded.settings == always_seg.settings
    for name, tensor in always_seg.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    loaded.seg_logits = always_seg.seg_logits
    first, second = (segment_video(item, frames, ["the red circle"]) for item in (always_seg, loaded))
    assert (first.logits == second.logits).all()


def test_whoever_reads_the_other_files_reads_the_weights(saved):
    assert {oct(file.stat().st_mode) for file in saved.iterdir()} == {oct((saved / "config.json").stat().st_mode)}


def test_missing_unexpected_and_reshaped_tensors_are_named(saved):
    weights = load_file(saved / WEIGHTS)
    weights["surplus"] = torch.zeros(1)
    weights["mllm.mm_projector.bias"] = torch.zeros(3)
    del weights["text_hidden_fcs.0.bias"]
    save_file(weights, saved / WEIGHTS)
    with pytest.raises(InputError) as error:
        GLUS.from_pretrained(saved)
    assert "missing text_hidden_fcs.0.bias" in str(error.value)
    assert "unexpected surplus" in str(error.value)
    assert "mllm.mm_projector.bias has shape [3], expected [128]" in str(error.value)


def test_truncated_weights_are_refused(saved):
    path = saved / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read as plain tensors"):
        GLUS.from_pretrained(saved)


def test_other_bytes_than_the_manifest_s_are_refused_by_whoever_loads_them(saved):
    write_manifest(saved, step="train", parameters={}, inputs={})
    GLUS.from_pretrained(saved)
    content = bytearray((saved / WEIGHTS).read_bytes())
    content[-8] ^= 1  # a bit of a weight: the file is sound
    (saved / WEIGHTS).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{WEIGHTS} is not the file that `glus train` wrote"):
        GLUS.from_pretrained(saved)


def test_a_wrong_tokenizer_is_refused(saved):
    (saved / "added_tokens.json").write_text('{"[SEG]": 999, "<im_start>": 400, "<im_end>": 401}')
    with pytest.raises(InputError, match="tokenizer: it has 1000 tokens"):
        GLUS.from_pretrained(saved)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no model"):
        GLUS.from_pretrained(tmp_path)
