"""Adapters on disk in peft's format, merged into a checkpoint: `adapter_config.json` and `adapter_model.safetensors`.

Names are those of training the published model with peft: `base_model.model.` before the published name of a tensor.
Beside the low-rank matrices a file may hold tensors that were trained in full; they replace the checkpoint's.
"""

from __future__ import annotations

from pathlib import Path

import peft
from torch import Tensor

from glus.errors import InputError
from glus.files import read_json
from glus.model.glus import GlusModel
from glus.model.lora import merged_state_dict
from glus.weights.released import rename
from glus.weights.tensor_files import read_tensors, tensor_faults

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_WRAPPER = "base_model.model."
_LORA = ("lora_A", "lora_B")


def merge_adapter(model: GlusModel, folder: Path) -> dict[str, Tensor]:
    """The weights of a model with an adapter merged, each in the type that the model has it in.

    Args:
        model: gets the adapter injected; use the returned weights, not the model.
        folder: of the adapter.

    Raises:
        InputError: no adapter there, another kind than plain LoRA on linear layers, or tensors that are missing,
            unexpected or misshapen (named).
    """
    config = _read_config(folder)
    lora, full = _read_weights(folder)
    own = model.state_dict()
    try:
        peft.inject_adapter_in_model(config, model.language_model)
    except ValueError as error:  # no layer of the named kind
        raise InputError(f"{folder / CONFIG} does not fit the model: {error}.") from error
    replaced = {name: own[name] for name in full if name in own}
    if faults := tensor_faults(peft.get_peft_model_state_dict(model.language_model) | replaced, lora | full):
        raise InputError(f"{folder} does not fit the model: {faults}.")
    for name, parameter in model.language_model.named_parameters():
        if any(part in name.split(".") for part in _LORA):
            parameter.data = parameter.data.float()  # whatever the model's type, the sum is rounded once
    peft.set_peft_model_state_dict(model.language_model, lora)
    merged = merged_state_dict(model) | {name: tensor.to(own[name].dtype) for name, tensor in full.items()}
    if merged.keys() != own.keys():
        raise InputError(f"{folder / CONFIG} adapts more than linear layers; only those are merged.")
    return merged


def _read_config(folder: Path) -> peft.LoraConfig:
    file = folder / CONFIG
    values = read_json(file)
    if values.get("peft_type") != "LORA" or values.get("use_dora"):
        raise InputError(f"{file}: peft_type is {values.get('peft_type')!r}, only plain LORA is merged.")
    return peft.LoraConfig.from_pretrained(str(folder))


def _read_weights(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Low-rank matrices by the language model's names, tensors trained in full by the model's."""
    file = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise InputError(f"{folder} holds no adapter ({' or '.join(WEIGHTS)}).")
    tensors = {name.removeprefix(_WRAPPER): tensor for name, tensor in read_tensors(file).items()}
    lora = {name: tensor for name, tensor in tensors.items() if any(part in name.split(".") for part in _LORA)}
    return lora, {rename(name): tensor for name, tensor in tensors.items() if name not in lora}
