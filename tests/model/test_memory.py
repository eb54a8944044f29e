"""Which frames are remembered, and what the bank keeps."""

import torch

from glus.model.memory import MemoryBank, memory_frames
from glus.model.sam2 import Memory


def test_published_examples():
    assert memory_frames(0, 3) == []
    assert memory_frames(1, 3) == [0]
    assert memory_frames(20, 3) == [3, 6, 9, 12, 15, 18, 19]
    assert memory_frames(8, 1) == [1, 2, 3, 4, 5, 6, 7]


def test_the_bank_keeps_all_that_is_read_later():
    memory = Memory(torch.zeros(1), torch.zeros(1))
    for stride in (1, 3, 5):
        bank = MemoryBank(stride)
        for frame in range(60):
            assert bank.frames_for(frame) == memory_frames(frame, stride)
            bank.write(frame, memory)
        assert len(bank._memories) <= 6 * stride + stride + 1


def test_a_missing_frame_is_not_replaced():
    bank = MemoryBank(1)
    memory = Memory(torch.zeros(1), torch.zeros(1))
    bank.write(0, memory)
    bank.write(2, memory)
    assert bank.frames_for(3) == [0, 2]
    assert MemoryBank(1).read(5) == []
