"""`glus weights`: look into a checkpoint, check it, convert it to our own format, merge an adapter into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glus.commands.listing import Listed
from glus.commands.output import new_folder, print_table, refuse_existing
from glus.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from glus.model.glus import GlusModel

app = typer.Typer(
    cls=Listed, help="Checkpoints: what they hold, whether they fit, and into our own format.", no_args_is_help=True
)

Checkpoint = Annotated[Path, typer.Argument(help="Folder: ours, a published GLUS, or LISA.")]
Output = Annotated[Path, typer.Argument(help="Folder to write; must not exist yet.")]
VisionTower = Annotated[Path | None, typer.Option(help="CLIP folder; published checkpoints do not hold it.")]
Sam2Config = Annotated[str, typer.Option(help="Name of a SAM-2 configuration of the sam2 package, or a YAML file.")]
Sam2Weights = Annotated[Path | None, typer.Option(help="SAM-2's published .pt, for LISA.")]


@app.command()
def inspect(checkpoint: Checkpoint) -> None:
    """Show the parts of a checkpoint: tensors, parameters, types."""
    from glus.weights.inspection import summarise

    parts = summarise(checkpoint)
    typer.echo(f"{checkpoint}: {_format(checkpoint)}")
    types = {
        name: ", ".join(f"{dtype} x {count}" for dtype, count in part.dtypes.most_common())
        for name, part in parts.items()
    }
    rows = [(name, types[name], str(part.tensors), f"{part.parameters:,}") for name, part in parts.items()]
    tensors, parameters = (sum(getattr(part, of) for part in parts.values()) for of in ("tensors", "parameters"))
    print_table(
        ("part", "types", "tensors", "parameters"), [rows, [("all", "", str(tensors), f"{parameters:,}")]], texts=2
    )


@app.command()
def verify(
    checkpoint: Checkpoint,
    vision_tower: VisionTower = None,
    sam2_config: Sam2Config = "sam2_hiera_l.yaml",
    sam2_weights: Sam2Weights = None,
) -> None:
    """Load a checkpoint and name every tensor that is missing, unexpected or misshapen (exit code 2)."""
    model, notes = _load(checkpoint, vision_tower, sam2_config, sam2_weights, load_gamma=True)
    tensors = model.state_dict()
    typer.echo(f"{checkpoint}: {_format(checkpoint)}, {len(tensors)} tensors, all in place.{notes}")


@app.command("import")
def import_(
    checkpoint: Checkpoint,
    output: Output,
    vision_tower: VisionTower = None,
    sam2_config: Sam2Config = "sam2_hiera_l.yaml",
    sam2_weights: Sam2Weights = None,
    load_gamma: Annotated[
        bool, typer.Option(help="Take the memory encoder's gamma as stored; the published loader loses it.")
    ] = True,
) -> None:
    """Convert a published checkpoint to our format: safetensors, JSON, tokenizer, model card."""
    refuse_existing(output)
    model, notes = _load(checkpoint, vision_tower, sam2_config, sam2_weights, load_gamma)
    gamma = "as stored" if load_gamma else "1e-6, as the published loader leaves it"
    facts = _facts(checkpoint, vision_tower, sam2_config) | {"gamma of the memory encoder": gamma}
    _write(model, model.state_dict(), output, facts)
    typer.echo(f"{output} written: `GLUS.from_pretrained` and `glus segment --model` need nothing else.{notes}")


@app.command()
def merge(
    checkpoint: Checkpoint,
    output: Output,
    adapter: Annotated[
        Path | None, typer.Option(help="Folder of a LoRA adapter in peft's format; not needed where training wrote it.")
    ] = None,
    base: Annotated[Path | None, typer.Option(help="Where the base of a trained checkpoint lies now.")] = None,
    vision_tower: VisionTower = None,
    sam2_config: Sam2Config = "sam2_hiera_l.yaml",
    sam2_weights: Sam2Weights = None,
) -> None:
    """Write a whole model that needs no base: what `glus train` saved with its base, or a checkpoint with an adapter.

    What is written is compared with the sum of weights and adapter, computed once more in float64.
    """
    refuse_existing(output)
    elsewhere = {"base": base, "vision_tower": vision_tower, "sam2_weights": sam2_weights}
    if adapter is not None:
        notes = _merge_adapter(checkpoint, adapter, output, vision_tower, sam2_config, sam2_weights)
        typer.echo(f"{output} written, with {adapter} merged; it is their sum.{notes}")
        return
    with new_folder(output) as folder:
        _write_whole(checkpoint, folder, elsewhere)
    typer.echo(f"{output} written: the sum of {checkpoint} and its base, which it does not need any more.")


def _write_whole(checkpoint: Path, folder: Path, elsewhere: Mapping[str, Path | None]) -> None:
    """Writes a model together with the base that it was trained from."""
    from glus.weights import saved, selector_saved
    from glus.weights.adapters import require_sum
    from glus.weights.bases import recorded_base
    from glus.weights.folder import WEIGHTS
    from glus.weights.tensor_files import read_tensors

    kind = _format(checkpoint)
    if not recorded_base(checkpoint):
        raise InputError(f"{checkpoint} ({kind}) is no training's result beside a base; name an --adapter to merge.")
    if kind == selector_saved.FORMAT:
        selector = selector_saved.load_selector(checkpoint, elsewhere)
        selector_saved.save_selector(selector, selector.state_dict(), folder)
        plain, adapted = selector_saved.unmerged_tensors(checkpoint, elsewhere), selector_saved.LANGUAGE_MODEL
    else:
        model = saved.load_glus(checkpoint, elsewhere)
        saved.save_glus(model, model.state_dict(), folder)
        saved.write_model_card(folder, {"Source": checkpoint.name})
        plain, adapted = saved.unmerged_tensors(checkpoint, elsewhere), saved.LANGUAGE_MODEL
    require_sum(read_tensors(folder / WEIGHTS), plain, checkpoint, adapted)


def _merge_adapter(
    checkpoint: Path,
    adapter: Path,
    output: Path,
    vision_tower: Path | None,
    sam2_config: str,
    sam2_weights: Path | None,
) -> str:
    """Writes a checkpoint with an adapter from elsewhere merged; returns what there is to say about it."""
    from glus.weights.adapters import merge_adapter, require_sum
    from glus.weights.saved import LANGUAGE_MODEL

    model, notes = _load(checkpoint, vision_tower, sam2_config, sam2_weights, load_gamma=True)
    plain = dict(model.state_dict())
    merge_adapter(model, LANGUAGE_MODEL, adapter)
    merged = model.state_dict()
    require_sum(merged, plain.items(), adapter, LANGUAGE_MODEL)
    _write(model, merged, output, _facts(checkpoint, vision_tower, sam2_config) | {"Adapter": adapter.name})
    return notes


def _facts(checkpoint: Path, vision_tower: Path | None, sam2_config: str) -> dict[str, str]:
    """What the model card says about where the weights come from."""
    kind = _format(checkpoint)
    if kind == "glus":
        return {"Source": f"{checkpoint.name} (glus)"}
    return {
        "Source": f"{checkpoint.name} ({kind})",
        "CLIP tower": vision_tower.name if vision_tower else "",
        "SAM-2 configuration": sam2_config,
    }


def _write(model: GlusModel, weights: Mapping[str, Tensor], output: Path, facts: Mapping[str, str]) -> None:
    from glus.weights.saved import save_glus, write_model_card

    with new_folder(output) as folder:
        save_glus(model, weights, folder)
        write_model_card(folder, facts)


def _format(checkpoint: Path) -> str:
    """What a checkpoint is, by its `config.json`."""
    from glus.files import read_json
    from glus.weights.lisa import is_lisa
    from glus.weights.released import model_type

    if not checkpoint.is_dir():
        raise InputError(f"{checkpoint} is not a folder; a folder with a checkpoint is expected.")
    if model_type(checkpoint) == "llava":
        return "LISA" if is_lisa(checkpoint) else "published GLUS"
    config = read_json(checkpoint / "config.json")
    return str(config.get("format") or config.get("model_type") or "unknown")


def _load(
    checkpoint: Path,
    vision_tower: Path | None,
    sam2_config: str,
    sam2_weights: Path | None,
    load_gamma: bool,
) -> tuple[GlusModel, str]:
    """The model, and what there is to say about it."""
    from glus.weights.lisa import build_from_lisa
    from glus.weights.released import SETTINGS, load_released
    from glus.weights.saved import load_glus

    kind = _format(checkpoint)
    if kind == "glus":
        return load_glus(checkpoint, {"vision_tower": vision_tower, "sam2_weights": sam2_weights}), ""
    if kind not in ("published GLUS", "LISA"):
        raise InputError(f"{checkpoint} is of format {kind}; glus, a published GLUS or LISA is expected.")
    options: dict[str, Any] = {"vision_tower": _named(vision_tower, "--vision-tower", kind), "sam2_config": sam2_config}
    if kind == "published GLUS":
        return load_released(checkpoint, **options, load_gamma=load_gamma), ""
    weights = _named(sam2_weights, "--sam2-weights", kind)
    fresh = build_from_lisa(checkpoint, **options, sam2_weights=weights, settings=SETTINGS)
    dropped = "\n".join(f"  {name}" for name in fresh.dropped)
    return fresh.model, f"\n{len(fresh.dropped)} tensors of SAM-1 left behind:\n{dropped}"


def _named(path: Path | None, option: str, kind: str) -> Path:
    if path is None:
        raise InputError(f"{kind} checkpoints do not hold everything: name {option}.")
    return path
