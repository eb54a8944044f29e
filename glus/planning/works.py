"""Memory of the four kinds of work, by part: the work itself on the meta device, its tensors followed.

Training is one batch of the clip phase forward and backward. Labelling and segmenting are the encoders for as many
frames as are kept, the language model for as many windows as are read at once, the mask branch with a full memory.
Selecting is a clip's frames, contexts and endings. What is assumed: `FRAME_PX` where frames are not generated, and
sentences of `SENTENCE`'s length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import cast

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from glus.config import Config, LoraConfig
from glus.inference.encoder import FRAMES_AT_ONCE, FRAMES_KEPT
from glus.inference.prompts import CONVERSATIONS_AT_ONCE
from glus.model.conversations import Conversations, pack_conversations
from glus.model.glus import GlusModel
from glus.model.memory import memory_frames
from glus.model.sam2 import FrameFeatures
from glus.model.sharing import SharedCache, read_shared, read_states
from glus.planning.live_memory import META, following
from glus.planning.skeletons import glus_at_work, glus_in_training
from glus.processing.conversation import INFERENCE_ANSWER, INFERENCE_QUESTION, training_prompt
from glus.processing.sentences import IMAGE, SEG
from glus.processing.tokenizer import IMAGE_ID
from glus.processing.tokens import expand_images
from glus.selector.clip_reading import FRAMES_PER_PASS
from glus.training.segmentation.batch import ClipBatch, TokenKey
from glus.training.segmentation.contrastive import TokenBank
from glus.training.segmentation.objectives import ClipObjective

FRAME_PX = 720, 1280  # height, width
SENTENCE = "the white dog that jumps over the fence"
LETTERS = 4  # that a piece of a LLaMA tokenizer has on average
SENTENCES = 4  # of a video, asked together


@dataclass(frozen=True)
class Work:
    """What one process of a step holds at its peak, bytes by part.

    Attributes:
        name: `training`, `labelling`, `selecting` or `segmenting`.
        parts: weights, gradients, optimiser, activations.
        replaced: bytes of stored weights that LoRA was merged into. They were read once; Linux counts them for the
            process until it wants the room.
    """

    name: str
    parts: dict[str, int] = field(default_factory=dict)
    replaced: int = 0

    @property
    def total(self) -> int:
        """Bytes of all parts: what has to be there."""
        return sum(self.parts.values())


def size_of(module: nn.Module) -> int:
    """Bytes of parameters and buffers."""
    return sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()])


def training(config: Config) -> Work:
    """One batch of the clip phase and the optimiser's step."""
    model, trained = glus_in_training(config)
    contrastive = config.train.contrastive.model_copy(update={"weight": 0.0})  # looks at values, and is small
    objective = ClipObjective(model, config.train.loss, contrastive, config.model.memory, TokenBank(1))
    batch = _batch(config, model)
    with following(model) as memory:
        with torch.autocast("cpu", torch.bfloat16, enabled=config.compute.precision == "bfloat16"):
            losses = objective(batch)
        losses["loss"].backward()
    gradients = sum(parameter.nbytes for parameter in trained.values() if parameter.grad is not None)
    return Work(
        "training",
        {
            "weights": size_of(model),
            "gradients": gradients,
            "optimiser": 2 * gradients,
            "activations": max(0, memory.peak - gradients),
        },
    )


def segmenting(config: Config, name: str, num_frames: int = FRAMES_KEPT) -> Work:
    """A video's passes: `labelling` of all frames of a share of the videos, or `segmenting` from the key frames.

    Args:
        num_frames: of the video; longer ones than `FRAMES_KEPT` need no more.
    """
    model, at_once = glus_at_work(config), min(num_frames, FRAMES_AT_ONCE)
    settings, per_frame = config.model, model.mllm.tokens_per_frame
    windows = at_once
    rows = windows * max(1, min(SENTENCES, CONVERSATIONS_AT_ONCE // windows))
    prompt = _row(settings.num_context_frames, settings.num_query_frames, SENTENCE, per_frame)
    context = prompt.index(IMAGE_ID) + (settings.num_context_frames + 1) * per_frame
    with torch.no_grad(), following(model) as memory:
        kept = [_encoded(model, at_once) for _ in range(min(num_frames, FRAMES_KEPT) // at_once)]
        _read(model.language_model, context, (windows, per_frame), (rows, len(prompt) - context - per_frame))
        features = kept[0][0][:1].repeated(SENTENCES)
        last = cast(nn.Linear, model.text_hidden_fcs[-1])
        embeddings = _empty(last.weight, SENTENCES, model.masks.sam2.hidden_dim)
        _, remembered = model.masks.segment_frame(features, embeddings, [])
        longest = memory_frames(100, 1, settings.memory.max_strided)
        model.masks.segment_frame(features, embeddings, [remembered] * len(longest))
    parts = {"weights": size_of(model), "activations": memory.peak}
    return Work(name, parts, _replaced(model, config, settings.base, settings.lora))


def selecting(config: Config) -> Work:
    """Scores for the frames of a clip; GLUS's parts stand for Chat-UniVi's, which have the same shapes."""
    model, own = glus_at_work(config), config.selector.model
    size, selector = sum(own.clusters), config.keyframes
    tail = ceil(len(SENTENCE) / LETTERS) + 40
    queries = max(1, selector.batch // SENTENCES)
    with torch.no_grad(), following(model) as memory:
        side, like = _clip_px(model), model.mm_projector.weight
        model.mllm.project(model.mllm.encode_frames(_empty(like, FRAMES_PER_PASS, 3, side, side)))
        context = selector.max_context_frames * (size + 4) + 40
        _read(model.language_model, context, (queries, size), (queries * SENTENCES, tail))
    parts = (model.vision_tower, model.mm_projector, model.language_model)
    return Work(
        "selecting",
        {"weights": sum(map(size_of, parts)), "activations": memory.peak},
        _replaced(model, config, own.base or config.model.base, own.lora),
    )


def _replaced(model: GlusModel, config: Config, base: str | None, lora: LoraConfig) -> int:
    """See `Work`; in 32 bits all weights are copies of what is stored, which is let go of."""
    if base is None or config.compute.precision != "bfloat16" or not lora.rank:
        return 0
    adapted = tuple(f".{target}.weight" for target in lora.targets)
    return sum(weight.nbytes for name, weight in model.language_model.named_parameters() if name.endswith(adapted))


def _clip_px(model: GlusModel) -> int:
    return cast(int, model.vision_tower.config.image_size)


def _empty(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=META)


def _encoded(model: GlusModel, count: int) -> tuple[FrameFeatures, Tensor]:
    """Image features and visual tokens of frames that are encoded in one call."""
    clip, sam2 = _clip_px(model), model.masks.image_size
    features = model.masks.encode(torch.empty(count, 3, sam2, sam2, device=META))
    strides = (features.stride4.clone(), features.stride8.clone(), features.stride16.clone())
    features = FrameFeatures(*strides, features.position[:1].clone())
    pixels = torch.empty(count, 3, clip, clip, device=META)
    return features, model.mllm.project(model.mllm.encode_frames(pixels.to(model.mllm.mm_projector.weight.dtype)))


def _read(language_model: LlamaForCausalLM, context: int, frames: tuple[int, int], endings: tuple[int, int]) -> None:
    """The language model over a context, frames behind it, and endings behind those, (rows, tokens) each."""
    llama = language_model.model
    beginning = SharedCache.empty(len(llama.layers))
    width, like = llama.config.hidden_size, llama.embed_tokens.weight
    read_shared(llama, _empty(like, 1, context, width), beginning)
    seen = beginning.continued()
    read_shared(llama, _empty(like, *frames, width), seen)
    positions = torch.zeros(endings[0], 1, dtype=torch.long, device=META)
    read_states(llama, _empty(like, *endings, width), positions, seen.continued(keep=False))


def _batch(config: Config, model: GlusModel) -> ClipBatch:
    """A batch of the clip phase: full clips, as many sentences as there may be."""
    shape, phase = config.model, config.train.clip
    context, query = shape.num_context_frames, shape.num_query_frames
    clips, sentences = phase.samples, phase.max_expressions
    synthetic = all(entry.split.startswith("synthetic/") for entry in config.data.train)
    height, width = (config.stage.synthetic.size_px,) * 2 if synthetic else FRAME_PX
    clip_px, sam2_px = _clip_px(model), model.masks.image_size
    mask_type = torch.uint8 if phase.sum_annotations else torch.bool
    keys = [
        tuple(TokenKey(str(clip), str(sentence), str(frame), frozenset()) for frame in range(query))
        for clip in range(clips)
        for sentence in range(sentences)
    ]
    return ClipBatch(
        clip_pixels=torch.empty(clips, context + query, 3, clip_px, clip_px, device=META),
        sam2_pixels=torch.empty(clips, query, 3, sam2_px, sam2_px, device=META),
        input_ids=torch.empty(0, dtype=torch.long, device=META),
        conversations=_conversations(context, query, clips, sentences, model.mllm.tokens_per_frame).to(META),
        clip_of=torch.empty(clips * sentences, dtype=torch.long, device=META),
        targets=(torch.empty(sentences, query, height, width, dtype=mask_type, device=META),) * clips,
        keys=tuple(keys),
    )


def _conversations(context: int, query: int, clips: int, sentences: int, per_frame: int) -> Conversations:
    rows = [_row(context, query, f"{number} {SENTENCE}", per_frame) for number in range(sentences)] * clips
    asked = [[place - 1 for place, token in enumerate(row) if token == _piece(SEG)] for row in rows]
    clip_of = [clip for clip in range(clips) for _ in range(sentences)]
    return pack_conversations(rows, clip_of, (context + query) * per_frame, asked)


def _row(context: int, query: int, sentence: str, per_frame: int) -> list[int]:
    """A conversation in pieces of about the length of a LLaMA tokenizer's."""
    text = training_prompt(sentence, context, [INFERENCE_QUESTION] * query, [INFERENCE_ANSWER] * query)
    ids: list[int] = []
    for word in text.replace(IMAGE, f" {IMAGE} ").replace(SEG, f" {SEG} ").split():
        if word == IMAGE:
            ids.append(IMAGE_ID)
        elif word == SEG:
            ids.append(_piece(SEG))
        else:
            ids.extend(_piece(word[start : start + LETTERS]) for start in range(0, len(word), LETTERS))
    return expand_images(ids, per_frame)


def _piece(text: str) -> int:
    return int.from_bytes(text.encode(), "big")
