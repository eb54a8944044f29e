"""Contradictions between sizes: of networks, of clips and of what is drawn from them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from glus.config.model import LONGEST_CONVERSATION
from glus.config.root import Config


def clips_are_long_enough(config: Config) -> Iterator[str]:
    """Generated clips have as many frames as a training sample draws from them."""
    selector = config.selector
    fewest, most = selector.num_context_frames
    if fewest > most:
        yield f"selector.num_context_frames: {fewest} to {most}, the fewest come first"
    if selector.query_in_context and selector.num_query_frames > fewest:
        yield (
            f"selector.num_query_frames: {selector.num_query_frames} of the context frames, but"
            f" selector.num_context_frames may be {fewest}"
        )
    if all(not entry.split.startswith("synthetic/") for entry in config.data.train):
        return
    train, num_frames = config.train, config.stage.synthetic.num_frames
    drawn = {
        "model.num_context_frames": config.model.num_context_frames,
        "model.num_query_frames": config.model.num_query_frames,
        "train.alignment.num_context_frames": train.alignment.num_context_frames if train.alignment.steps else 0,
        "train.image.num_context_frames": train.image.num_context_frames if train.image.steps else 0,
        "train.tracking.num_frames": train.tracking.num_frames if train.tracking.steps else 0,
        "selector.num_context_frames": most,
        "selector.num_query_frames": selector.num_query_frames,
    }
    for key, count in drawn.items():
        if count > num_frames:
            yield f"{key}: {count} frames, but the generated clips have {num_frames} (stage.synthetic.num_frames)"


def shapes_fit(config: Config) -> Iterator[str]:
    """Shapes of a model that is built from scratch divide evenly; those of given weights are their own."""
    model = config.model
    if model.base is not None:
        return
    language, vision = model.language, model.vision
    for key, shape in (("model.language", language), ("model.vision", vision)):
        if shape.hidden_size % shape.num_heads:
            yield f"{key}.num_heads: {shape.num_heads} do not divide {key}.hidden_size {shape.hidden_size}"
    if not language.hidden_size % language.num_heads and language.hidden_size // language.num_heads % 2:
        yield (
            f"model.language.num_heads: {language.num_heads} heads of {language.hidden_size // language.num_heads}"
            " channels, but rotary positions need an even number"
        )
    if vision.image_size % vision.patch_size:
        yield (
            f"model.vision.patch_size: {vision.patch_size} does not divide model.vision.image_size {vision.image_size}"
        )
    elif (tokens := _num_patches(config)) % model.token_pool:
        yield f"model.token_pool: {model.token_pool} does not divide the {tokens} patches of a frame"
    elif (shown := _most_frames(config) * tokens // model.token_pool) >= LONGEST_CONVERSATION:
        yield (
            f"model.token_pool: {model.token_pool} makes {shown} visual tokens of the frames of a conversation, which"
            f" has {LONGEST_CONVERSATION} positions"
        )
    if model.seg_layer == "penultimate" and language.num_layers == 1:
        yield (
            "model.seg_layer: penultimate, but model.language.num_layers is 1: what stands before its only layer has"
            " read neither the sentence nor the frames"
        )
    if config.train.grounding.families and (language.num_layers == 1 or model.seg_layer == "penultimate"):
        yield (
            "train.grounding.families: what visual tokens name before the last layer is read by [SEG] in it, so"
            " model.seg_layer has to be last, and model.language.num_layers 2 or more"
        )


def selector_shapes_fit(config: Config) -> Iterator[str]:
    """Each merging step of the selector leaves no more tokens than it gets, and has neighbours enough."""
    shape, key = config.selector.model, "selector.model"
    if len(shape.clusters) != len(shape.neighbours):
        yield f"{key}: clusters and neighbours must have the same length"
    if any(after > before for before, after in pairwise(shape.clusters)):
        yield f"{key}.clusters: {shape.clusters} increase, but each step merges what the one before has left"
    for clusters, neighbours in zip(shape.clusters, shape.neighbours, strict=False):
        if neighbours > clusters:
            yield f"{key}.neighbours: {neighbours} of {clusters} clusters; the published rule would take others instead"
    if shape.base is None and config.model.base is None and shape.clusters[0] > _num_patches(config):
        yield f"{key}.clusters: {shape.clusters[0]} cannot be made of the {_num_patches(config)} patches of a frame"


def _most_frames(config: Config) -> int:
    """Frames of the longest conversation that training or segmenting has."""
    model, pretraining = config.model, (config.train.alignment, config.train.image)
    single = [phase.num_context_frames + 1 for phase in pretraining if phase.steps]
    return max([model.num_context_frames + model.num_query_frames, *single])


def _num_patches(config: Config) -> int:
    vision = config.model.vision
    return int((vision.image_size // vision.patch_size) ** 2)
