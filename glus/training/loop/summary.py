"""What a log says once before a phase: which parameters are trained, and what a batch looks like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from glus.training.loop.trainable import part_of


def describe_parameters(parameters: Mapping[str, nn.Parameter]) -> str:
    """Numbers of parameters by part and type, e.g. `lora 24,576 float32, mask_decoder 1,024 float32`."""
    counts: Counter[tuple[str, str]] = Counter()
    for name, parameter in parameters.items():
        counts[part_of(name) or "other", _dtype(parameter)] += parameter.numel()
    return ", ".join(f"{part} {count:,} {dtype}" for (part, dtype), count in counts.items())


def describe_batch(batch: Any) -> str:
    """Types and shapes of a batch's tensors, e.g. `input_ids int64 [6, 92]`; of a sequence, those of its first item."""
    return ", ".join(_tensors(batch, "", 2))


def _tensors(value: Any, name: str, depth: int) -> Iterator[str]:
    """Of fields of fields, which say how a batch is read, nothing is said."""
    if isinstance(value, Tensor):
        yield f"{name} {_dtype(value)} {[*value.shape]}"
    elif is_dataclass(value) and depth:
        for field in fields(value):
            yield from _tensors(getattr(value, field.name), f"{name}.{field.name}".lstrip("."), depth - 1)
    elif isinstance(value, list | tuple) and value:
        yield from _tensors(value[0], f"{name}[0 of {len(value)}]", depth)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
