"""Whether a film's file goes on to the end that its container names: a copy that broke off does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

EBML_HEADER, EBML_SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
TS_PACKETS = ((0, 188), (4, 192))  # where the first sync byte stands, and bytes of a packet
TS_SYNC, OGG_PAGE, OGG_LONGEST_PAGE, OGG_LAST = 0x47, b"OggS", 65307, 4
GIF_EXTENSION, GIF_IMAGE, GIF_END, GIF_TABLE = b"!", b",", b";", 0x80


def ends_early(path: Path, container: str) -> bool:
    """Whether a file is cut.

    Args:
        container: FFmpeg's name of its format; of one that does not tell, nothing is said.
    """
    test = _TESTS.get(container)
    if test is None:
        return False
    with path.open("rb") as file:
        return test(file, os.fstat(file.fileno()).st_size)


def _boxes_end_early(file: BinaryIO, length: int) -> bool:
    """ISO base media: a box at the top that is longer than what is left (ISO/IEC 14496-12, 4.2)."""
    position = 0
    while position + 8 <= length:
        file.seek(position)
        size = int.from_bytes(file.read(4))
        if size == 1:
            file.seek(position + 8)
            size = int.from_bytes(file.read(8))
        if size < 8:  # 0: it goes on to the end of the file
            return False
        position += size
    return position > length


def _segment_ends_early(file: BinaryIO, length: int) -> bool:
    """Matroska: a segment that is longer than what is left (RFC 8794)."""
    if file.read(4) != EBML_HEADER:
        return False
    header = _read_size(file)
    if header is None:
        return False
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != EBML_SEGMENT:
        return False
    size = _read_size(file)
    return size is not None and file.tell() + size > length


def _read_size(file: BinaryIO) -> int | None:
    """An element's size: as many bytes more as the first one has leading zeros; None where all bits say "unknown"."""
    first = file.read(1)[0]
    more = 8 - first.bit_length()
    value = int.from_bytes(bytes([first]) + file.read(more)) & ((1 << 7 * (more + 1)) - 1)
    return None if value == (1 << 7 * (more + 1)) - 1 else value


def _riff_ends_early(file: BinaryIO, length: int) -> bool:
    file.seek(4)
    return 8 + int.from_bytes(file.read(4), "little") > length + 1  # a last byte of padding may be absent


def _gif_ends_early(file: BinaryIO, _: int) -> bool:
    """A last block that is cut; the end mark (GIF89a, 27) is left out by some writers."""
    _skip_table(file, file.read(11)[10], file.seek(13))
    while kind := file.read(1):
        if kind == GIF_END:
            return False
        if kind == GIF_EXTENSION:
            file.seek(1, os.SEEK_CUR)
        elif kind == GIF_IMAGE:
            about = file.read(9)
            if len(about) < 9:
                return True
            _skip_table(file, about[8], file.tell())
            file.seek(1, os.SEEK_CUR)
        else:
            continue
        while (count := file.read(1)) != b"\0":
            if not count:
                return True
            file.seek(count[0], os.SEEK_CUR)
    return False


def _skip_table(file: BinaryIO, flags: int, position: int) -> None:
    file.seek(position + (3 << (flags & 7) + 1 if flags & GIF_TABLE else 0))


def _packets_end_early(file: BinaryIO, length: int) -> bool:
    """MPEG transport streams: a part of a packet at the end."""
    start = file.read(2 * max(size for _, size in TS_PACKETS))
    for first, size in TS_PACKETS:
        if len(start) > first + size and start[first] == start[first + size] == TS_SYNC:
            return length % size > 0
    return False


def _pages_end_early(file: BinaryIO, length: int) -> bool:
    """Ogg: a last page that is cut, or is not marked as the last one of its stream (RFC 3533, 6)."""
    file.seek(max(0, length - OGG_LONGEST_PAGE))
    tail = file.read()
    page = tail[max(tail.rfind(OGG_PAGE), 0) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]) or not page[5] & OGG_LAST


_TESTS: dict[str, Callable[[BinaryIO, int], bool]] = {
    "mov,mp4,m4a,3gp,3g2,mj2": _boxes_end_early,
    "matroska,webm": _segment_ends_early,
    "avi": _riff_ends_early,
    "gif": _gif_ends_early,
    "mpegts": _packets_end_early,
    "ogg": _pages_end_early,
}
