"""Adapters on disk in peft's format: `adapter_config.json` and `adapter_model.safetensors`.

Names are those of a language model wrapped by peft: `base_model.model.` before the name of a tensor. Beside the
low-rank matrices a file from elsewhere may hold tensors that were trained in full; they replace the checkpoint's.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import peft
import torch
from pydantic import BaseModel, Field, FiniteFloat, PositiveInt
from torch import Tensor, nn

from glus.errors import GlusError, InputError, name_some
from glus.files import read_json
from glus.model.lora import ADAPTER_NAME, merge_lora
from glus.weights.folder import ADAPTER, require_types, write_tensors
from glus.weights.released import rename
from glus.weights.tensor_files import read_tensors, shape_faults, without_wrapper

CONFIG = "adapter_config.json"
WEIGHTS = (ADAPTER, "adapter_model.bin")
_WRAPPER = "base_model.model."
_LORA = ("lora_A", "lora_B")


class _AdapterValues(BaseModel):
    """What is computed with of an `adapter_config.json`; peft takes whatever stands there."""

    r: PositiveInt = 8
    lora_alpha: FiniteFloat = 8
    lora_dropout: Annotated[float, Field(ge=0, le=1)] = 0
    target_modules: list[str] | str | None = None
    bias: Literal["none", "all", "lora_only"] = "none"
    use_rslora: bool = False
    rank_pattern: dict[str, PositiveInt] | None = None
    alpha_pattern: dict[str, FiniteFloat] | None = None


def write_adapter(language_model: nn.Module, lora: Mapping[str, Tensor], base: str, directory: Path) -> None:
    """Writes the adapter of a language model as peft does, so that `peft.PeftModel` reads it on the same base.

    Args:
        language_model: gives the settings.
        lora: low-rank matrices by the names of its parameters.
        base: what peft is told as the base's name.
        directory: is there.
    """
    config = language_model.peft_config[ADAPTER_NAME].to_dict()  # type: ignore[union-attr, index]
    config |= {"base_model_name_or_path": base, "inference_mode": True, "task_type": "CAUSAL_LM"}
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    (directory / CONFIG).write_text(json.dumps(plain, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tensors = {_WRAPPER + name.replace(f".{ADAPTER_NAME}.", "."): tensor for name, tensor in lora.items()}
    write_tensors(tensors, directory / ADAPTER)


def merge_adapter(model: nn.Module, language_model: str, folder: Path) -> None:
    """Merges an adapter into a model, each weight in the type that the model has it in: a sum is rounded once.

    Args:
        model: changed in place.
        language_model: the adapted module in it, by name.
        folder: of the adapter.

    Raises:
        InputError: no adapter there, another kind than plain LoRA on linear layers, or tensors that are missing,
            unexpected or misshapen (named).
    """
    config = _read_config(folder)
    lora, full = read_adapter(folder)
    adapted = model.get_submodule(language_model)
    own = {name: (tensor.shape, tensor.dtype) for name, tensor in model.state_dict().items()}
    try:
        peft.inject_adapter_in_model(config, adapted)
    except ValueError as error:  # no layer of the named kind
        raise InputError(f"{folder / CONFIG} does not fit the model: {error}.") from error
    wanted = _shapes(peft.get_peft_model_state_dict(adapted, save_embedding_layers=False))  # else the hub is asked
    wanted |= {name: own[name][0] for name in full if name in own}
    if faults := shape_faults(wanted, _shapes(lora | full)):
        raise InputError(f"{folder} does not fit the model: {faults}.")
    if whole := [name for name, tensor in (lora | full).items() if not tensor.is_floating_point()]:
        raise InputError(f"{folder} holds whole numbers, expected floating point: {name_some(whole)}.")
    for name, parameter in adapted.named_parameters():
        if any(part in name.split(".") for part in _LORA):
            parameter.data = parameter.data.float()  # whatever the model's type
    peft.set_peft_model_state_dict(adapted, lora)
    merge_lora(adapted)
    model.load_state_dict({name: tensor.to(own[name][1]) for name, tensor in full.items()}, strict=False, assign=True)
    if model.state_dict().keys() != own.keys():
        raise InputError(f"{folder / CONFIG} adapts more than linear layers; only those are merged.")


def require_sum(
    merged: Mapping[str, Tensor], plain: Iterable[tuple[str, Tensor]], folder: Path, language_model: str
) -> None:
    """Checks merged weights by the formula W + B A * alpha / r in float64; everything else is equal to the bit.

    Args:
        merged: tensors with the adapter merged.
        plain: tensors before, by the same names; a CLIP tower's may have the wrapper that published files have.
        folder: of the adapter; without one, nothing differs.
        language_model: the adapted module, by name.

    Raises:
        GlusError: a tensor is missing, or is another one than the sum rounded to its type; names it.
    """
    config = _read_config(folder) if (folder / CONFIG).is_file() else None
    lora, full = read_adapter(folder) if config else ({}, {})
    merged = {without_wrapper(name): tensor for name, tensor in merged.items()}
    for name, before in plain:
        layer = name.removeprefix(f"{language_model}.").removesuffix(".weight")
        low, high = lora.get(f"{layer}.lora_A.weight"), lora.get(f"{layer}.lora_B.weight")
        after = merged[without_wrapper(name)]
        if config and low is not None and high is not None:
            wanted = before.double() + _scale(config, layer, len(low)) * (high.double() @ low.double())
            rounding = torch.finfo(after.dtype).eps
            fits = torch.allclose(after.double(), wanted, rtol=rounding, atol=1e-6 * float(wanted.abs().max()))
        else:
            fits = torch.equal(after, full.get(name, before).to(after.dtype))
        if not fits:
            raise GlusError(f"{name} is not the sum of the weights and {folder}; nothing was written.")


def _scale(config: peft.LoraConfig, layer: str, rank: int) -> float:
    """What a layer's B A is multiplied by."""
    own = [alpha for pattern, alpha in (config.alpha_pattern or {}).items() if re.match(rf"(.*\.)?({pattern})$", layer)]
    return [*own, config.lora_alpha][0] / (math.sqrt(rank) if config.use_rslora else rank)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _read_config(folder: Path) -> peft.LoraConfig:
    file = folder / CONFIG
    values = read_json(file)
    if values.get("peft_type") != "LORA" or values.get("use_dora"):
        raise InputError(f"{file}: peft_type is {values.get('peft_type')!r}, only plain LORA is merged.")
    require_types(_AdapterValues, values, file)
    return peft.LoraConfig.from_pretrained(str(folder))


def read_adapter(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Low-rank matrices by the language model's names, tensors trained in full by the model's."""
    file = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise InputError(f"{folder} holds no adapter ({' or '.join(WEIGHTS)}).")
    tensors = {name.removeprefix(_WRAPPER): tensor for name, tensor in read_tensors(file).items()}
    lora = {name: tensor for name, tensor in tensors.items() if any(part in name.split(".") for part in _LORA)}
    return lora, {rename(name): tensor for name, tensor in tensors.items() if name not in lora}
