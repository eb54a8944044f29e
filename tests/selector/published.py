"""Writes a selector of ours in the published formats, so that loading is tested on sizes and files of any kind."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from glus import KeyFrameSelector
from glus.processing.sentences import SCORE

FORMS = ("one .bin", "sharded .bin", "one safetensors", "sharded safetensors")


def write_clip(model: KeyFrameSelector, folder: Path) -> None:
    """The CLIP tower that published files leave out."""
    model.vision_tower.save_pretrained(folder)
    model.image_processor.save_pretrained(folder)


def write_selector(model: KeyFrameSelector, folder: Path, form: str = FORMS[0]) -> None:
    """The merged selector: score head, `[SCORE]`, no CLIP."""
    _write(model, published_tensors(model), folder, form)


def write_chatunivi(model: KeyFrameSelector, folder: Path, form: str = FORMS[0]) -> None:
    """Chat-UniVi before it scores: no head, no `[SCORE]` (the last row here), a copy of CLIP that nothing reads."""
    tensors = {name: value for name, value in published_tensors(model).items() if "text_hidden_fcs" not in name}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:-1].clone()
    tensors["model.vision_tower.vision_tower.vision_model.post_layernorm.weight"] = torch.zeros(3)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(3)
    _write(model, tensors, folder, form)
    (folder / "added_tokens.json").unlink()


def published_tensors(model: KeyFrameSelector) -> dict[str, Tensor]:
    """The tensors of a merged selector by their published names."""
    renamed = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("language_model."):
            renamed[name.removeprefix("language_model.")] = tensor
        elif name.startswith("score_head."):
            renamed[name.replace("score_head.", "model.text_hidden_fcs.0.")] = tensor
        elif name.startswith("mm_projector."):
            renamed[f"model.{name}"] = tensor
    return renamed


def _write(model: KeyFrameSelector, tensors: dict[str, Tensor], folder: Path, form: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    assert list(model.tokenizer.added_tokens) == [SCORE]
    model.tokenizer.save_pretrained(folder)
    rates = {f"spatial_cluster_rate{stage}": count for stage, count in enumerate(model.token_merging.clusters)}
    config = {
        **model.language_model.config.to_dict(),
        "model_type": "ChatUniVi",
        "vocab_size": len(tensors["lm_head.weight"]),
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "config": {"use_cluster": True, **rates, "temporal_cluster_rate": 1 / 16},
        "out_dim": model.head_size,
    }
    (folder / "config.json").write_text(json.dumps(config))
    stem, suffix = ("model", ".safetensors") if "safetensors" in form else ("pytorch_model", ".bin")
    if not form.startswith("sharded"):
        _save(tensors, folder / f"{stem}{suffix}")
        return
    names = sorted(tensors)
    shards = {f"{stem}-{part + 1:05d}-of-00002{suffix}": names[part::2] for part in range(2)}
    for file, chosen in shards.items():
        _save({name: tensors[name] for name in chosen}, folder / file)
    weight_map = {name: file for file, chosen in shards.items() for name in chosen}
    (folder / f"{stem}{suffix}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    if file.suffix == ".bin":
        torch.save(tensors, file)
    else:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
