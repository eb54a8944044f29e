"""SAM-2's configuration: read as plain data, and built from a list of the classes that a SAM-2 is made of.

The files have the form of the sam2 package's own, in which `_target_` names a class. They come with weights from
elsewhere, so nothing else than these classes is ever called, wherever in a configuration it is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import SAM2Base

from glus.config.paths import carried_sam2_configs, find_sam2_config
from glus.errors import InputError

TARGET = "_target_"
CLASSES: dict[str, type] = {
    f"{built.__module__}.{built.__qualname__}": built
    for built in (
        SAM2Base, ImageEncoder, Hiera, FpnNeck, PositionEmbeddingSine, MemoryAttention, MemoryAttentionLayer,
        RoPEAttention, MemoryEncoder, MaskDownSampler, Fuser, CXBlock,
    )
}  # fmt: skip
READS_A_FILE = "weights_path"  # of Hiera, which unpickles it, from an address too; our weights come afterwards
UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def load_sam2_config(name: str) -> dict[str, Any]:
    """Reads a SAM-2 configuration: a YAML file, or the name of one that the sam2 package carries.

    A file of this package, such as `glus/model/sam2_tiny.yaml`, is found from any folder.

    Raises:
        InputError: neither a file nor a name of the package, or not a configuration of SAM-2.
    """
    path = find_sam2_config(name)
    if path is None:
        known = ", ".join(file.name for file in carried_sam2_configs())
        raise InputError(f"SAM-2 configuration {name}: no such file, and not one of the sam2 package ({known}).")
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"SAM-2 configuration {name} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise InputError(f"SAM-2 configuration {name} has no section `model`; one of the sam2 package is expected.")
    return content["model"]


def build_sam2(config: Mapping[str, Any]) -> SAM2Base:
    """Builds SAM-2 from its configuration, with the decoder settings of the package's own builder.

    Raises:
        InputError: the configuration names something else than a class that SAM-2 is made of, a file to read, or
            sizes that do not fit each other.
    """
    extra = {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    }
    try:
        model = _built({**config, "sam_mask_decoder_extra_args": extra}, "model")
    except RecursionError as error:  # YAML may name a part of itself
        raise InputError("SAM-2 configuration: a part of it holds itself, or it is nested too deep.") from error
    if not isinstance(model, SAM2Base):
        raise InputError(f"SAM-2 configuration: model is {type(model).__name__}, expected {TARGET} of SAM2Base.")
    return model


def _built(value: Any, place: str) -> Any:
    """A value of a configuration with every mapping that names a class turned into an object of it."""
    if isinstance(value, list | tuple):
        return [_built(item, f"{place}[{number}]") for number, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    _check_keys(value, place)
    arguments = {name: _built(item, f"{place}.{name}") for name, item in value.items() if name != TARGET}
    if TARGET not in value:
        return arguments
    named = value[TARGET]
    if not isinstance(named, str) or named not in CLASSES:
        raise InputError(
            f"SAM-2 configuration, {place}: {TARGET} is {named}; only classes that SAM-2 is made of are built"
            f" ({', '.join(sorted(built.__name__ for built in CLASSES.values()))})."
        )
    try:
        return CLASSES[named](**arguments)
    except UNFIT as error:
        raise InputError(
            f"SAM-2 configuration, {place}: {named} cannot be built of these values: {error!r}."
        ) from error


def _check_keys(value: Mapping[Any, Any], place: str) -> None:
    for name in value:
        if not isinstance(name, str) or (name.startswith("_") and name != TARGET):
            raise InputError(f"SAM-2 configuration, {place}: {name} is not a parameter; of names with _ only {TARGET}.")
    if value.get(READS_A_FILE) is not None:
        raise InputError(
            f"SAM-2 configuration, {place}: {READS_A_FILE} names a file that would be unpickled; take it out, the"
            " weights are given beside the configuration."
        )
