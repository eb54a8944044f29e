"""The errors a user reads: one paragraph that names the thing, what was found and what to do."""

import re
from collections.abc import Sequence


class GlusError(Exception):
    """Something the user can mend; the command line prints it without a traceback.

    `exit_code` follows the contract of the command line: 1 the work failed, 2 bad usage or bad input.
    """

    exit_code = 1


class InputError(GlusError):
    """Bad usage or bad input: a parameter, a dataset, a checkpoint, a path."""

    exit_code = 2


class ConfigError(InputError):
    """A value in `params.yaml` (or a preset, or an override) that cannot be used; names the key."""


class ArtifactError(InputError):
    """An artifact of an earlier step that is missing, incomplete or made under other parameters."""


class BusyError(GlusError):
    """Another process is at work on the same step."""


class KilledError(GlusError):
    """A process that this one cannot go on without was killed, from outside or by the kernel."""


class LostProcessError(KilledError):
    """Another process that works together with this one has ended; it, or who started it, knows why."""


_OBJECT = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")


def plain_words(error: BaseException) -> str:
    """What an outside library said, without Python's objects and their addresses in memory."""
    return _OBJECT.sub("the file", str(error))


# torch raises RuntimeError on a CPU, the loader of libraries ImportError, the system OSError
_NO_MEMORY = (
    "not enough memory", "can't allocate memory", "out of memory", "failed to map segment", "cannot allocate memory",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, torch or a card says that there is no memory left."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)


NUM_NAMED = 5  # things that an error names before it only counts


def name_some(things: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f"; and {len(things) - NUM_NAMED} more" if len(things) > NUM_NAMED else ""
    return f"{'; '.join(things[:NUM_NAMED])}{more}"
