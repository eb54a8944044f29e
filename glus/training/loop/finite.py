"""What is not finite ends training, before it reaches the weights or because it is in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from torch import nn
from torch.distributed.tensor import DTensor

from glus.errors import GlusError, name_some


def require_finite(values: Mapping[str, float], place: str, samples: Sequence[str], module: nn.Module) -> None:
    """Checks losses, or a norm of gradients.

    Args:
        values: by name.
        place: what errors begin with.
        samples: what the values were computed for.
        module: what they were computed by.

    Raises:
        GlusError: one is not finite; names it, the samples, and the weights that are not either.
    """
    if all(map(math.isfinite, values.values())):
        return
    found = ", ".join(f"{name} {value:g}" for name, value in values.items())
    said = f"{place}: the loss is not finite ({found}) for {name_some(list(dict.fromkeys(samples)))}; "
    if broken := list(_broken_weights(module)):
        raise GlusError(
            f"{said}before this step these weights were not either: {name_some(broken)}. Take another model.base; if it"
            " is sound, lower the rate and begin anew with --fresh."
        )
    raise GlusError(f"{said}lower the rate, or look at them.")


def _broken_weights(module: nn.Module) -> Iterator[str]:
    """Names of those that this process holds and that are not finite everywhere; no other process is asked."""
    for name, weight in module.named_parameters():
        held = weight.detach()
        if not bool((held.to_local() if isinstance(held, DTensor) else held).isfinite().all()):
            yield name
