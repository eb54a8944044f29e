"""Checkpoints in the published formats, written from a tiny model of ours."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from glus import GLUS

PREFIXES = {
    "masks.sam2.": "model.visual_model.",
    "text_hidden_fcs.": "model.text_hidden_fcs.0.",
    "mllm.mm_projector.": "model.mm_projector.",
    "mllm.language_model.model.": "model.",
    "mllm.language_model.lm_head.": "lm_head.",
}
SAM1 = (
    "image_encoder.blocks.0.attn.qkv.weight",
    "prompt_encoder.no_mask_embed.weight",
    "mask_decoder.iou_token.weight",
)


def published_name(name: str) -> str:
    ours = next(prefix for prefix in PREFIXES if name.startswith(prefix))
    return PREFIXES[ours] + name.removeprefix(ours)


def published_tensors(model: GLUS) -> dict[str, Tensor]:
    """As GLUS is published: LLaMA and projector in bfloat16, the rest in float32, no vision tower."""
    return {
        published_name(name): tensor.bfloat16() if name.startswith("mllm.") else tensor.clone()
        for name, tensor in model.state_dict().items()
        if not name.startswith("mllm.vision_tower.")
    }


def write_folder(folder: Path, model: GLUS, tensors: dict[str, Tensor]) -> Path:
    """`config.json`, two shards with an index, tokenizer."""
    model.tokenizer.save_pretrained(folder)
    language = model.language_model.config.to_dict()
    (folder / "config.json").write_text(json.dumps({**language, "model_type": "llava"}))
    names = sorted(tensors)
    shards = {"a.bin": names[::2], "b.bin": names[1::2]}
    for file, members in shards.items():
        torch.save({name: tensors[name] for name in members}, folder / file)
    index = {"weight_map": {name: file for file, members in shards.items() for name in members}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def write_clip(folder: Path, model: GLUS) -> Path:
    """CLIP's owners publish its names with a wrapper, which newer releases of transformers do not write."""
    model.vision_tower.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    wrapped = {"vision_model." + name.removeprefix("vision_model."): tensor for name, tensor in tensors.items()}
    save_file(wrapped, folder / "model.safetensors")
    model.transform.clip_processor.save_pretrained(folder)
    return folder


def write_glus(folder: Path, model: GLUS) -> Path:
    return write_folder(folder, model, published_tensors(model))


def write_lisa(folder: Path, model: GLUS) -> Path:
    """LISA: the language side of the model, SAM-1 instead of SAM-2."""
    tensors = {name: value for name, value in published_tensors(model).items() if "visual_model" not in name}
    return write_folder(folder, model, tensors | {f"model.visual_model.{name}": torch.ones(2) for name in SAM1})
