"""The files of a checkpoint: JSON, tensors in `.bin` or safetensors, whole or in shards. Nothing is unpickled.

Files are mapped into memory, not read: what a model takes over as it is stays there, is read when it is first used, and
is held once however many processes of a machine use it.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError  # the name of what torch raises; nothing is unpickled
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from glus.errors import InputError, name_some
from glus.files import read_json

WORTH_READING_AHEAD = 1 << 20  # bytes
SHOWN = 10  # faults that an error names
_MAPPABLE = b"PK\x03\x04"  # how the files of torch begin that are no older than 2020
_WHOLE = ("model.safetensors", "pytorch_model.bin")


def read_checkpoint(directory: Path) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a checkpoint, shard after shard; where an index names a tensor's shard, from that one only.

    Raises:
        InputError: no weights there, a shard that is missing, a file that holds anything but named tensors, or a tensor
            that is in two shards and not in the index.
    """
    shard_of = _declared(directory)
    came_from: dict[str, Path] = {}
    for file in weight_files(directory):
        for name, tensor in read_tensors(file).items():
            if shard_of.get(name, file.name) != file.name:
                continue
            if (other := came_from.setdefault(name, file)) != file:
                raise InputError(
                    f"{directory}: {other.name} and {file.name} both hold {name}, and the index names neither for it;"
                    " copy the whole checkpoint again."
                )
            yield name, tensor


def read_renamed(
    directory: Path, wanted: Callable[[str], bool], rename: Callable[[str], str]
) -> Iterator[tuple[str, Tensor]]:
    """The wanted tensors of a checkpoint by our names, shard after shard.

    Raises:
        InputError: as `read_checkpoint`; also two tensors that have one name of ours.
    """
    seen: set[str] = set()
    for name, tensor in read_checkpoint(directory):
        if not wanted(name):
            continue
        ours = rename(name)
        if ours in seen:
            raise InputError(f"{directory}: {name} and another tensor both are our {ours}; keep one of them.")
        seen.add(ours)
        yield ours, tensor


def _declared(directory: Path) -> dict[str, str]:
    """The shard of each tensor, as the index of the files that are read says; empty where they have none."""
    for name in _WHOLE:
        if (index := _index(directory, name)).is_file():
            return _weight_map(index)
        if (directory / name).is_file():
            break
    return {}


def weight_files(directory: Path) -> list[Path]:
    """The files that hold a checkpoint's tensors; safetensors before `.bin`.

    Raises:
        InputError: none, or an index that names a file elsewhere or one that is not there.
    """
    for name in _WHOLE:
        if (index := _index(directory, name)).is_file():
            return _shards(index)
        if (directory / name).is_file():
            return [directory / name]
    raise InputError(f"{directory} holds no weights ({' or '.join(_WHOLE)}, or their index).")


def tensor_names(directory: Path) -> list[str]:
    """Names of all tensors of a checkpoint, from its index where it has one."""
    return list(_declared(directory)) or [name for name, _ in read_checkpoint(directory)]


def _index(directory: Path, name: str) -> Path:
    return directory / f"{name}.index.json"


def _weight_map(index: Path) -> dict[str, str]:
    entries = read_json(index).get("weight_map")
    if not isinstance(entries, dict) or not all(isinstance(file, str) for file in entries.values()):
        raise InputError(f"{index}: weight_map is missing or does not name a file for each tensor.")
    return entries


def _shards(index: Path) -> list[Path]:
    names = sorted(set(_weight_map(index).values()))
    for name in names:
        if Path(name).name != name or name == "..":
            raise InputError(f"{index} names {name!r}, which leaves its folder; shards lie beside their index.")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise InputError(
            f"{index} names {len(names)} files, of which {len(missing)} are not there: {', '.join(missing[:5])};"
            " copy the whole checkpoint."
        )
    return [index.parent / name for name in names]


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The named tensors of a file.

    Raises:
        InputError: see `read_plain`; also content that is not tensors by name.
    """
    content = read_plain(file)
    if not isinstance(content, dict):
        raise InputError(f"{file} holds one {type(content).__name__}, expected tensors by name.")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{file}: {name} is a {type(value).__name__}, expected a tensor.")
    return content


def read_plain(file: Path) -> Any:
    """What a `.safetensors`, `.bin` or `.pt` file holds, provided that it is plain data and tensors.

    Raises:
        InputError: no such file, damaged, or with objects that would have to be unpickled.
    """
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        with file.open("rb") as start:
            mappable = start.read(len(_MAPPABLE)) == _MAPPABLE
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mappable)
    except UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        found = f"it holds {named[1]}, an object that" if named else "it is damaged, or holds objects that"
        raise InputError(
            f"{file} cannot be read as plain tensors: {found} would have to be unpickled, which can run any code;"
            " save the tensors alone."
        ) from error
    except (OSError, RuntimeError, EOFError, SafetensorError) as error:
        raise InputError(f"{file} cannot be read as plain tensors: {error}.") from error


def require_sizes(config: Mapping[str, Any], names: Sequence[str], origin: Path | str) -> None:
    """Checks the sizes of a transformer.

    Args:
        names: of whole numbers; `hidden_size` and `num_attention_heads` among them.
        origin: the file that errors name.

    Raises:
        InputError: one is missing, is no positive whole number, or the heads do not divide the width.
    """
    if missing := [name for name in names if name not in config]:
        raise InputError(f"{origin} lacks {', '.join(missing)}.")
    for name in names:
        value = config[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{origin}: {name} is {value!r}, expected a positive whole number.")
    width, heads = config["hidden_size"], config["num_attention_heads"]
    if width % heads:
        raise InputError(f"{origin}: hidden_size {width} is not a multiple of num_attention_heads {heads}.")


def fill(
    model: nn.Module,
    weights: Iterable[tuple[str, Tensor]],
    origin: str,
    *,
    apart: tuple[str, ...] = (),
    type_of: Callable[[str], torch.dtype | None] = lambda name: None,
) -> None:
    """Gives a model its tensors, one after the other: beside the model no more is held than what `weights` holds.

    Args:
        weights: by the model's names; those of CLIP's tower may be of any release of transformers.
        origin: what errors call the source.
        apart: prefixes of parts that have theirs already.
        type_of: name -> the type to hold a tensor in; None: as it is stored.

    Raises:
        InputError: tensors that are missing, unexpected, misshapen or there under two names; names them.
    """
    tensors = {name: value for name, value in model.state_dict().items() if not name.startswith(apart)}
    own = {name: value.shape for name, value in tensors.items()}
    current = {without_wrapper(name): name for name in own}
    given: dict[str, torch.Size] = {}
    twice, whole = [], []
    for theirs, tensor in weights:
        name = current.get(without_wrapper(theirs), theirs)
        if name in given:
            twice.append(without_wrapper(theirs))
        given[name] = tensor.shape
        if name in own and tensors[name].is_floating_point() and not tensor.is_floating_point():
            whole.append(name)
        elif own.get(name) == tensor.shape:
            owner, _, last = name.rpartition(".")
            _read_ahead(tensor)
            held = _aligned(tensor.to(type_of(name) or tensor.dtype))
            model.get_submodule(owner).load_state_dict({last: held}, strict=False, assign=True)
    if twice:
        raise InputError(f"{origin} holds tensors under two names each: {name_some(twice)}; keep one of them.")
    if whole:
        raise InputError(f"{origin} holds whole numbers, expected floating point: {name_some(whole)}.")
    if faults := shape_faults(own, given):
        raise InputError(f"{origin} does not fit the model: {faults}.")


def _read_ahead(tensor: Tensor) -> None:
    """Tells Linux that a mapped tensor is read from its beginning to its end.

    Else, where memory is short, it reads single pages, at 90 MB/s instead of 180 to 610 here, whenever one is missing.
    """
    if sys.platform == "linux" and tensor.nbytes >= WORTH_READING_AHEAD:
        address = tensor.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
        length = tensor.data_ptr() + tensor.nbytes - address
        ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), mmap.MADV_SEQUENTIAL)


def _aligned(tensor: Tensor) -> Tensor:
    """The tensor where kernels expect it: safetensors begin anywhere in a file, and sums round differently there."""
    return tensor if tensor.data_ptr() % 64 == 0 else tensor.clone()


def without_wrapper(name: str) -> str:
    """CLIP's tower wraps its layers in a module of their own in some releases of transformers."""
    return name.replace("vision_model.", "", 1)


def shape_faults(own: Mapping[str, torch.Size], given: Mapping[str, torch.Size]) -> str:
    """Names tensors that are missing, unexpected or of another shape; empty where all fit."""
    faults = [f"missing {name}" for name in own.keys() - given.keys()]
    faults += [f"unexpected {name}" for name in given.keys() - own.keys()]
    faults += [
        f"{name} has shape {list(given[name])}, expected {list(own[name])}"
        for name in own.keys() & given.keys()
        if own[name] != given[name]
    ]
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return "; ".join(sorted(faults)[:SHOWN]) + more
