"""A checkpoint beside its base: only what differs from it is written, and put over it when it is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from glus.weights.adapters import write_adapter
from glus.weights.folder import TRAINED, WEIGHTS, write_tensors
from glus.weights.tensor_files import read_tensors, without_wrapper

_BASE_LAYER, _LORA = ".base_layer.", ".lora_"  # peft's names within an adapted layer


def write_trained(
    model: nn.Module,
    language_model: str,
    trained: Collection[str],
    base: Iterable[tuple[str, Tensor]],
    base_name: str,
    directory: Path,
) -> None:
    """Writes the adapters of a model, and the tensors that are trained or that its base does not hold.

    Args:
        model: with its adapters.
        language_model: the adapted module in it, by name.
        trained: names of the parameters that were trained.
        base: the base's tensors, by the model's names; only their shapes are looked at.
        base_name: what peft is told as the base's name.
        directory: is there.
    """
    given = {without_wrapper(name): tensor.shape for name, tensor in base}
    lora, full = {}, {}
    for name, tensor in model.state_dict().items():
        plain = name.replace(_BASE_LAYER, ".")
        if _LORA in name:
            lora[name.removeprefix(f"{language_model}.")] = tensor
        elif name in trained or given.get(without_wrapper(plain)) != tensor.shape:
            full[plain] = tensor
    write_tensors(full, directory / TRAINED)
    if lora:
        write_adapter(model.get_submodule(language_model), lora, base_name, directory)


def saved_tensors(
    directory: Path,
    parts: Mapping[str, Path],
    base_tensors: Callable[[Mapping[str, Path]], Iterable[tuple[str, Tensor]]],
) -> Iterator[tuple[str, Tensor]]:
    """A saved model's tensors by name; its adapter is not merged yet.

    Args:
        directory: of the model.
        parts: where its base lies, by part; empty where it has none.
        base_tensors: reads them, by the names of ours.
    """
    if not parts:
        yield from read_tensors(directory / WEIGHTS).items()
        return
    own = read_tensors(directory / TRAINED)
    replaced = {without_wrapper(name) for name in own}
    yield from ((name, tensor) for name, tensor in base_tensors(parts) if without_wrapper(name) not in replaced)
    yield from own.items()
