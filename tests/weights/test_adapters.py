"""An adapter as peft saves it, merged into a checkpoint."""

import json
import math
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from glus import GLUS
from glus.cli import app
from glus.errors import InputError
from glus.weights.adapters import merge_adapter
from glus.weights.saved import LANGUAGE_MODEL, save_glus

TARGETS = ["q_proj", "v_proj"]
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@pytest.fixture
def adapter(model, tmp_path) -> Path:
    """peft's own files for LLaMA, whose names are those of the published model, and two tensors trained in full."""
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=TARGETS, bias="none")
    adapted = peft.get_peft_model(model.language_model, config)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    adapted.save_pretrained(tmp_path / "adapter")
    adapted.unload()
    extra = {"model.text_hidden_fcs.0.2.bias": model.text_hidden_fcs[2].bias + 1}
    extra["lm_head.weight"] = model.language_model.lm_head.weight * 2
    tensors = load_file(tmp_path / "adapter" / WEIGHTS)
    tensors |= {f"base_model.model.{name}": value.detach().clone() for name, value in extra.items()}
    save_file(tensors, tmp_path / "adapter" / WEIGHTS)
    return tmp_path / "adapter"


def expected(model: GLUS, adapter: Path) -> dict[str, torch.Tensor]:
    """By hand: W + B A * alpha / r."""
    tensors, weights = load_file(adapter / WEIGHTS), dict(model.state_dict())
    for name, first in tensors.items():
        if "lora_A" in name:
            second = tensors[name.replace("lora_A", "lora_B")]
            ours = f"mllm.language_model.{name.removeprefix('base_model.model.').replace('.lora_A', '')}"
            weights[ours] = weights[ours] + second @ first * 2.0
    weights["text_hidden_fcs.2.bias"] = weights["text_hidden_fcs.2.bias"] + 1
    weights["mllm.language_model.lm_head.weight"] = weights["mllm.language_model.lm_head.weight"] * 2
    return weights


def test_merging_by_hand(model, adapter):
    wanted = {name: value.clone() for name, value in expected(model, adapter).items()}
    merge_adapter(model, LANGUAGE_MODEL, adapter)
    merged = model.state_dict()
    assert merged.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-5, atol=1e-6)


def test_stored_types_are_kept(model, adapter):
    model.mllm.bfloat16()
    wanted = expected(model, adapter)
    merge_adapter(model, LANGUAGE_MODEL, adapter)
    merged = model.state_dict()
    name = "mllm.language_model.model.layers.1.self_attn.v_proj.weight"
    assert merged[name].dtype == torch.bfloat16 and torch.equal(merged[name], wanted[name].bfloat16())


def test_the_command(model, adapter, tmp_path):
    save_glus(model, model.state_dict(), tmp_path / "model")
    wanted = {name: value.clone() for name, value in expected(model, adapter).items()}
    done = CliRunner().invoke(
        app, ["weights", "merge", str(tmp_path / "model"), str(tmp_path / "merged"), "--adapter", str(adapter)]
    )
    assert done.exit_code == 0, done.output
    merged = GLUS.from_pretrained(tmp_path / "merged").state_dict()
    assert all(torch.allclose(merged[name], value, atol=1e-6) for name, value in wanted.items())
    assert "| Adapter | adapter |" in (tmp_path / "merged" / "README.md").read_text()


def test_what_does_not_fit_is_named(model, adapter):
    tensors = load_file(adapter / WEIGHTS)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    tensors[name] = torch.zeros(3, 5)
    tensors["base_model.model.model.nothing.weight"] = torch.zeros(1)
    del tensors[name.replace("q_proj", "v_proj")]
    save_file(tensors, adapter / WEIGHTS)
    with pytest.raises(InputError) as error:
        merge_adapter(model, LANGUAGE_MODEL, adapter)
    for words in ("q_proj.lora_A.weight has shape [3, 5], expected [3, ", "missing", "unexpected"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3', only plain LORA is merged"),
        ({"use_dora": True}, "only plain LORA is merged"),
        ({"target_modules": ["no_such_layer"]}, "does not fit the model"),
        ({"target_modules": 5}, r"adapter_config.json: target_modules\..* is 5: "),
        ({"r": "eight"}, r"adapter_config.json: r is 'eight': "),
        ({"lora_alpha": None}, "lora_alpha is None: "),
        ({"lora_alpha": math.nan}, "lora_alpha is nan: "),
        ({"alpha_pattern": [1]}, r"alpha_pattern is \[1\]: "),
        ({"bias": "some"}, "bias is 'some': "),
    ],
)
def test_other_adapters_are_refused(model, adapter, change, words):
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=words):
        merge_adapter(model, LANGUAGE_MODEL, adapter)


def test_whole_numbers_are_no_adapter(model, adapter):
    tensors = load_file(adapter / WEIGHTS)
    save_file({name: tensor.to(torch.int8) for name, tensor in tensors.items()}, adapter / WEIGHTS)
    with pytest.raises(InputError, match=r"holds whole numbers, expected floating point: model.*lora_A"):
        merge_adapter(model, LANGUAGE_MODEL, adapter)


def test_a_folder_without_an_adapter_is_refused(model, tmp_path):
    with pytest.raises(InputError, match=r"adapter_config.json does not exist"):
        merge_adapter(model, LANGUAGE_MODEL, tmp_path)
