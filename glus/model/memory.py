"""Which frames the mask decoder remembers (paper 4.2, B.3): the previous one and up to six strided ones."""

from __future__ import annotations

from glus.model.sam2 import Memory


def memory_frames(frame: int, stride: int, max_strided: int = 6) -> list[int]:
    """Frames that decoding `frame` reads, oldest first, when every earlier frame is in the bank.

    Frame f - 1 and the last `max_strided` multiples of the stride up to f - 2, counted from the start of the pass.
    """
    if frame == 0:
        return []
    newest = (frame - 2) // stride * stride if frame >= 2 else -1
    strided = [newest - stride * step for step in range(max_strided)]
    return [index for index in reversed(strided) if index >= 0] + [frame - 1]


class MemoryBank:
    """The memories of one pass over a video; a frame that was not segmented is missing and nothing replaces it.

    At most `max_strided + 1` of them between two frames, however long the video is.
    """

    def __init__(self, stride: int, max_strided: int = 6) -> None:
        self.stride = stride
        self.max_strided = max_strided
        self._memories: dict[int, Memory] = {}

    def __len__(self) -> int:
        """Number of memories."""
        return len(self._memories)

    def entries(self) -> dict[int, Memory]:
        """All memories, oldest first."""
        return dict(sorted(self._memories.items()))

    def write(self, frame: int, memory: Memory) -> None:
        """Remembers a frame; forgets those that no later frame reads: all but this one and the newest multiples."""
        self._memories[frame] = memory
        oldest = memory_frames(frame + 1, self.stride, self.max_strided)[0]
        for index in [index for index in self._memories if index < frame and (index % self.stride or index < oldest)]:
            del self._memories[index]

    def frames_for(self, frame: int) -> list[int]:
        """Frames in the bank that decoding `frame` reads, oldest first."""
        return [index for index in memory_frames(frame, self.stride, self.max_strided) if index in self._memories]

    def read(self, frame: int) -> list[Memory]:
        """Memories of `frames_for(frame)`."""
        return [self._memories[index] for index in self.frames_for(frame)]
