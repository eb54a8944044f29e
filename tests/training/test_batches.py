"""Batches that are made in other processes come over as they are made."""

import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from together import together
from torch import Tensor

from glus.training.loop.batches import open_batches, pack, unpack


@dataclass(frozen=True)
class Batch:
    """Tensors at several depths, and what is none."""

    pixels: Tensor
    masks: tuple[Tensor, ...]
    layout: dict[str, Any]
    names: frozenset[str]


def batch(number: int) -> Batch:
    generator = torch.Generator().manual_seed(number)
    pixels = torch.rand(2, 3, 5, 7, generator=generator)
    masks = (pixels[0] > 0.5, torch.empty(0, 4, dtype=torch.bool), pixels[1, 0].bfloat16())
    layout = {"asked": torch.arange(number + 3), "turned": pixels.transpose(1, 3), "one": torch.tensor(number)}
    return Batch(pixels, masks, layout, frozenset({str(number)}))


def assert_equal(found: Batch, expected: Batch) -> None:
    assert found.names == expected.names
    tensors = [(found.pixels, expected.pixels), *zip(found.masks, expected.masks, strict=True)]
    tensors += [(found.layout[name], expected.layout[name]) for name in expected.layout]
    for ours, theirs in tensors:
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def test_what_is_packed_is_unpacked():
    frame, content = pack(batch(4))
    assert content.dtype == torch.uint8 and content.dim() == 1
    found = unpack((frame, content))
    assert_equal(found, batch(4))
    assert found.pixels.untyped_storage().data_ptr() == content.untyped_storage().data_ptr()


PHASE = SimpleNamespace(batch=batch, steps=3, accumulation=2)


def second_and_third_step(workers: int) -> list[Batch]:
    with open_batches(PHASE, 1, workers) as batches:
        return list(batches)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_a_phase_come_in_order(workers):
    found = together(1, second_and_third_step, workers)[0]
    assert len(found) == 4
    for number, each in enumerate(found, start=2):
        assert_equal(each, batch(number))


def exit_codes_of_workers() -> list[int]:
    own = os.getpid()
    threading._register_atexit(lambda: own == os.getpid() or 1 / 0)  # fails in a fork, as that of Prefect's services
    with open_batches(PHASE, 0, 2) as batches:
        workers = multiprocessing.active_children()
        assert len(list(batches)) == 6
    return [worker.exitcode for worker in workers]


def test_workers_do_not_end_as_the_training_process_would():
    assert together(1, exit_codes_of_workers)[0] == [0, 0]


def left_by_an_error_after_a_signal() -> list[Exception | int]:
    """What the error is, and how many workers there are while it is looked at."""
    try:
        with open_batches(PHASE, 0, 2) as batches:
            next(batches), next(batches)  # one of each worker
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGTERM)  # as one for the whole group, of which this process has its own
            next(batches)
            raise ValueError("of training")
    except ValueError as error:
        return [error, len(multiprocessing.active_children())]


def test_workers_are_gone_with_what_ends_training_and_do_not_hide_it():
    error, left = together(1, left_by_an_error_after_a_signal)[0]
    assert (str(error), left) == ("of training", 0)
