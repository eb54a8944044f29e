"""A device belongs to one task of a machine at a time: whoever works on it holds a lock that ends with the process.

One file for each device in a folder of the machine, locked by `flock`: however its holder dies, the kernel frees it.
Tasks learn their devices as everybody does, from `CUDA_VISIBLE_DEVICES`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import takewhile
from pathlib import Path

from glus.errors import InputError

logger = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
UUIDS = ("GPU-", "MIG-")
SLOTS = "GLUS_DEVICE_SLOTS"  # where there are no GPUs: so many stand for them
LOCKS = "GLUS_DEVICE_LOCKS"  # another folder; not $TMPDIR, which schedulers give to each job anew
USUAL_LOCKS = "/tmp/glus-devices"
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def held_devices(count: int, what: str) -> Iterator[list[str]]:
    """Holds devices that nobody else on this machine holds, and shows this process and its children only these.

    To be called before CUDA is initialised. All are taken at once or none, so two that wait do not wait for each other.

    Args:
        count: how many, at most as many as there are; 0: none, and nothing is shown to be there.
        what: the work, for those who wait.

    Yields:
        Indices, or UUIDs where `CUDA_VISIBLE_DEVICES` named such; empty where there are neither devices nor slots.
    """
    there = visible_devices()
    wanted = min(count, len(there))
    if count and not there:
        yield []
        return
    taken = _wait_for(wanted, there, what)
    before = {name: os.environ.get(name) for name in (VISIBLE, ORDER)}
    os.environ[VISIBLE] = ",".join(taken)
    os.environ.setdefault(ORDER, "PCI_BUS_ID")  # so that an index is the same card for everybody
    try:
        yield list(taken)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        for lock in taken.values():
            os.close(lock)


def visible_devices() -> list[str]:
    """The devices that this process may use: those that `CUDA_VISIBLE_DEVICES` names, else the GPUs, else the slots.

    Raises:
        InputError: the number of slots is none.
    """
    slots, gpus = os.environ.get(SLOTS, ""), _gpus()
    if slots and not slots.isdecimal():
        raise InputError(f"{SLOTS} is {slots!r}, expected how many tasks may use a device at a time, such as 2.")
    there = list(gpus) or [str(number) for number in range(int(slots or 0))]
    if (named := os.environ.get(VISIBLE)) is None:
        return there
    names = [name.strip() for name in named.split(",") if name.strip()]
    return list(takewhile(lambda name: name in there or name.startswith(UUIDS), names))  # as CUDA reads it


@cache
def _gpus() -> dict[str, str]:
    """Index and UUID of each GPU, by the driver's own program: CUDA must not be initialised here."""
    program = shutil.which("nvidia-smi")
    if not program:
        return {}
    command = [program, "--query-gpu=index,uuid", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    pairs = (line.split(",") for line in done.stdout.splitlines()) if done.returncode == 0 else ()
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def _wait_for(wanted: int, there: Sequence[str], what: str) -> dict[str, int]:
    folder = _folder()
    lines = time.monotonic()
    while (taken := _take(wanted, there, folder)) is None:
        if time.monotonic() >= lines:
            lines = time.monotonic() + SECONDS_BETWEEN_LINES
            logger.info("%s", f"{what}: waits for {wanted} of the devices {_holders(there, folder)}")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    for lock in taken.values():
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps({"pid": os.getpid(), "what": what}).encode(), 0)
    return taken


def _take(wanted: int, there: Sequence[str], folder: Path) -> dict[str, int] | None:
    """The devices with their locks, or None where too few are free."""
    taken: dict[str, int] = {}
    gate = _open(folder / "gate")
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)  # for a moment: so that of two that try at once one gets all
        for name in there:
            if len(taken) < wanted and (lock := _lock(_file(folder, name))) is not None:
                taken[name] = lock
    finally:
        os.close(gate)
    if len(taken) == wanted:
        return taken
    for lock in taken.values():
        os.close(lock)
    return None


def _lock(path: Path) -> int | None:
    lock = _open(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _file(folder: Path, name: str) -> Path:
    """One file for each device, whether it is named by its index or by the beginning of its UUID."""
    uuids = _gpus()
    found = [uuid for uuid in uuids.values() if name.startswith(UUIDS) and uuid.startswith(name)]
    return folder / (uuids.get(name) or (found[0] if len(found) == 1 else name))


def _folder() -> Path:
    """The folder of the locks.

    Raises:
        InputError: it is none, and cannot be made, or nothing can be written there.
    """
    folder = Path(os.environ.get(LOCKS) or USUAL_LOCKS)
    with suppress(OSError):
        folder.mkdir(parents=True)
        folder.chmod(0o1777)  # of all users of the machine, as /tmp is
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise InputError(
            f"{folder} cannot hold the locks of this machine's devices: it is no folder that this user may write to."
            f" Name another one in {LOCKS}, the same for all who share the devices."
        )
    return folder


def _open(path: Path) -> int:
    """Opens a lock's file for every user, and makes it where there is none."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags)  # without O_CREAT: for others' files in such a folder the kernel refuses that
    except FileNotFoundError:
        pass
    try:
        made = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return os.open(path, flags)
    os.fchmod(made, 0o666)
    return made


def _holders(there: Sequence[str], folder: Path) -> str:
    """Each device, and who holds it."""
    return "; ".join(f"{name} ({_holder(_file(folder, name))})" for name in there)


def _holder(path: Path) -> str:
    lock = _lock(path)
    if lock is not None:
        os.close(lock)
        return "free"
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']}, {holder['what']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has just been taken
        return "taken"
