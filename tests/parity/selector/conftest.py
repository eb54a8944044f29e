"""The goldens as a fixture, and what goes through a module while a test runs."""

from collections.abc import Callable, Iterator

import pytest
from torch import Tensor, nn

from tests.parity.selector.goldens import SelectorGoldens, selector_goldens

Record = Callable[..., list[Tensor]]


@pytest.fixture(scope="session")
def published() -> SelectorGoldens:
    return selector_goldens()


@pytest.fixture
def inputs_of() -> Iterator[Record]:
    """`inputs_of(module)`: a list that fills with what the module is given, call after call."""
    handles = []

    def record(module: nn.Module, name: str | None = None) -> list[Tensor]:
        seen: list[Tensor] = []

        def keep(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            seen.append((kwargs[name] if name else args[0]).detach())

        handles.append(module.register_forward_pre_hook(keep, with_kwargs=True))
        return seen

    yield record
    for handle in handles:
        handle.remove()
