"""Random weights in the published formats and sizes: what `glus_s` names, for the machine that has none of it.

Shard by shard, so that memory stays small. The language models say [SEG] wherever they are asked: every word has a
common direction, which the layers leave alone and which [SEG] has in the LM head. So masks are made of noise, but made.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from sentencepiece import sentencepiece_model_pb2
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from glus.model.sam2 import build_sam2, load_sam2_config
from glus.processing.conversation import conversation_texts
from glus.processing.selector_conversation import selector_texts
from glus.processing.sentences import IM_END, IM_START, SEG
from glus.processing.tokenizer import LlamaSentencePiece, train_tokenizer
from glus.processing.transforms import build_clip_processor

VOCABULARY, WIDTH, MLP, LAYERS, HEADS = 32_000, 4096, 11_008, 32, 32  # LLaMA 7B
CLIP_WIDTH, PROMPT_WIDTH, SAM1_WIDTH, SAM1_BLOCKS = 1024, 256, 1280, 32
SHARD_BYTES = 10_000_000_000
COMMON = 0.1  # of every word in the common direction; the rest of a word is 0.02
LAYER_STD = 1e-4  # of what a layer adds, so that the common direction stays

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def write_weights(folder: Path) -> None:
    """Writes LISA-7B, Chat-UniVi-7B, CLIP ViT-L/14 and SAM-2 Hiera-L, 31 GB; what is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in {
        "clip-vit-large-patch14": _write_clip,
        "sam2_hiera_large.pt": _write_sam2,
        "LISA-7B-v1": _write_lisa,
        "Chat-UniVi": _write_chat_univi,
    }.items():
        if not (folder / name).exists():
            print(f"writing {folder / name}", flush=True)
            aside = folder / f".{name}"
            shutil.rmtree(aside, ignore_errors=True)
            write(aside)
            aside.rename(folder / name)


def _write_clip(folder: Path) -> None:
    """The whole of CLIP in float32, as published."""
    folder.mkdir()
    sizes = {"hidden_size": CLIP_WIDTH, "intermediate_size": 4 * CLIP_WIDTH, "num_hidden_layers": 24}
    config = CLIPConfig(
        vision_config={**sizes, "num_attention_heads": 16, "image_size": 224, "patch_size": 14, "projection_dim": 768},
        text_config={"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "projection_dim": 768},
        projection_dim=768,
    )
    torch.save(CLIPModel(config).state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(config.to_json_string())
    build_clip_processor(224).save_pretrained(folder)


def _write_sam2(file: Path) -> None:
    torch.save({"model": build_sam2(load_sam2_config("sam2_hiera_l.yaml")).state_dict()}, file)


def _write_lisa(folder: Path) -> None:
    tokenizer = _tokenizer()
    tokenizer.add_tokens([SEG, IM_START, IM_END])
    shapes = [*_llama(len(tokenizer)), *_lisa_only(), *_sam1()]
    _write_folder(folder, "llava", tokenizer, shapes, tokenizer.token_id(SEG))


def _write_chat_univi(folder: Path) -> None:
    tokenizer = _tokenizer()
    _write_folder(folder, "ChatUniVi", tokenizer, [*_llama(len(tokenizer)), *_mm_projector()], None)


def _tokenizer() -> LlamaSentencePiece:
    """A small one whose vocabulary is filled up with pieces that no text holds."""
    with tempfile.TemporaryDirectory() as folder:
        train_tokenizer([*conversation_texts(), *selector_texts()], 2000).save_pretrained(Path(folder))
        content = Path(folder, "tokenizer.model").read_bytes()
    model = sentencepiece_model_pb2.ModelProto.FromString(content)
    for number in range(VOCABULARY - len(model.pieces)):
        model.pieces.add(piece=f"\ue000{number}", score=-1e6 - number)
    return LlamaSentencePiece(model.SerializeToString())


def _llama(vocabulary: int) -> Shapes:
    yield "model.embed_tokens.weight", (vocabulary, WIDTH)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        for name in "qkvo":
            yield f"{prefix}.self_attn.{name}_proj.weight", (WIDTH, WIDTH)
        yield f"{prefix}.self_attn.rotary_emb.inv_freq", (WIDTH // HEADS // 2,)
        yield f"{prefix}.mlp.gate_proj.weight", (MLP, WIDTH)
        yield f"{prefix}.mlp.up_proj.weight", (MLP, WIDTH)
        yield f"{prefix}.mlp.down_proj.weight", (WIDTH, MLP)
        yield f"{prefix}.input_layernorm.weight", (WIDTH,)
        yield f"{prefix}.post_attention_layernorm.weight", (WIDTH,)
    yield "model.norm.weight", (WIDTH,)
    yield "lm_head.weight", (vocabulary, WIDTH)


def _mm_projector() -> Shapes:
    yield "model.mm_projector.weight", (WIDTH, CLIP_WIDTH)
    yield "model.mm_projector.bias", (WIDTH,)


def _lisa_only() -> Shapes:
    yield from _mm_projector()
    yield "model.text_hidden_fcs.0.0.weight", (WIDTH, WIDTH)
    yield "model.text_hidden_fcs.0.0.bias", (WIDTH,)
    yield "model.text_hidden_fcs.0.2.weight", (PROMPT_WIDTH, WIDTH)
    yield "model.text_hidden_fcs.0.2.bias", (PROMPT_WIDTH,)


def _sam1() -> Shapes:
    """The blocks of SAM's ViT-H, nearly all of what LISA carries of it."""
    for block in range(SAM1_BLOCKS):
        prefix = f"model.visual_model.image_encoder.blocks.{block}"
        for name, outs, ins in (
            ("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.lin1", 4, 1), ("mlp.lin2", 1, 4),
        ):  # fmt: skip
            yield f"{prefix}.{name}.weight", (outs * SAM1_WIDTH, ins * SAM1_WIDTH)
            yield f"{prefix}.{name}.bias", (outs * SAM1_WIDTH,)


def _write_folder(
    folder: Path,
    model_type: str,
    tokenizer: LlamaSentencePiece,
    shapes: Iterable[tuple[str, tuple[int, ...]]],
    spoken: int | None,
) -> None:
    tokenizer.save_pretrained(folder)
    config = {
        "model_type": model_type,
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": MLP,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    weight_map = {}
    generator = torch.Generator().manual_seed(0)
    for number, shard in enumerate(_shards(shapes), start=1):
        file = f"pytorch_model-{number:05d}-of-00002.bin"
        torch.save({name: _draw(name, shape, spoken, generator) for name, shape in shard}, folder / file)
        weight_map.update(dict.fromkeys((name for name, _ in shard), file))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1))


def _shards(shapes: Iterable[tuple[str, tuple[int, ...]]]) -> Iterator[list[tuple[str, tuple[int, ...]]]]:
    shard: list[tuple[str, tuple[int, ...]]] = []
    size = 0
    for name, shape in shapes:
        num_bytes = 2 * torch.Size(shape).numel()
        if size + num_bytes > SHARD_BYTES:
            yield shard
            shard, size = [], 0
        shard.append((name, shape))
        size += num_bytes
    yield shard


def _draw(name: str, shape: tuple[int, ...], spoken: int | None, generator: torch.Generator) -> Tensor:
    if "norm" in name:
        return torch.ones(shape, dtype=torch.bfloat16)
    if name.endswith(("bias", "inv_freq")):
        return torch.zeros(shape, dtype=torch.bfloat16)
    std = LAYER_STD if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.02
    tensor = torch.empty(shape, dtype=torch.bfloat16).normal_(0, std, generator=generator)
    if name == "model.embed_tokens.weight":
        tensor += COMMON
    elif name == "lm_head.weight" and spoken is not None:
        tensor[spoken] = COMMON
    return tensor


if __name__ == "__main__":
    write_weights(Path(sys.argv[1]))
