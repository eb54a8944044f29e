"""Work in several processes: results in order, errors as they were raised, nobody left behind."""

import multiprocessing
import os
from functools import partial

import pytest

from glus.errors import InputError
from glus.parallel import map_in_processes, process_number


class Squarer:
    """Squares numbers; cannot do 7."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __call__(self, number: int) -> tuple[int, int, int]:
        if number == 7:
            raise InputError("seven is not a number of ours")
        return self.first + number**2, process_number(), os.getpid()


def refuse() -> Squarer:
    raise InputError("no model here")


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_order(count):
    results = list(map_in_processes(partial(Squarer, 1), range(6), count))
    assert [square for square, _, _ in results] == [1, 2, 5, 10, 17, 26]
    workers = {(number, pid) for _, number, pid in results}
    assert {number for number, _ in workers} <= set(range(count))
    assert len({pid for _, pid in workers}) == len(workers) <= count
    assert (os.getpid() in {pid for _, pid in workers}) == (count == 1)


@pytest.mark.parametrize("count", [1, 2])
def test_errors_keep_their_words_and_end_the_others(count):
    before = set(multiprocessing.active_children())
    with pytest.raises(InputError, match="seven is not a number"):
        list(map_in_processes(partial(Squarer, 0), range(20), count))
    with pytest.raises(InputError, match="no model here"):
        list(map_in_processes(refuse, range(3), count))
    assert set(multiprocessing.active_children()) <= before
