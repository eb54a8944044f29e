"""Contradictions of training: what is trained, on what, in how many steps and by how many processes."""

from __future__ import annotations

from collections.abc import Iterator

from glus.config.root import Config
from glus.config.training import ALIGNMENT_PARTS, IMAGE_PARTS, TRACKING_PARTS

PHASES = ("alignment", "image", "tracking", "clip")
FEWEST_LABELLED = 2  # videos: a selector is trained on one and validated on another


def training_can_be_resumed_and_shared(config: Config) -> Iterator[str]:
    """Checkpoints fall on log lines, and a step's batches can be dealt out evenly."""
    for key, section in (("train", config.train), ("selector", config.selector)):
        if section.checkpoint_every % section.log_every:
            yield (
                f"{key}.checkpoint_every: {section.checkpoint_every} is not a multiple of {key}.log_every"
                f" {section.log_every}, so a resumed run could not repeat its curves"
            )
    compute = config.compute
    for key, batches in (
        *((f"train.{name}", getattr(config.train, name).accumulation) for name in PHASES),
        ("selector", config.selector.accumulation),
    ):
        if batches % (compute.processes * compute.machines):
            machines = f" on each of compute.machines {compute.machines}" if compute.machines > 1 else ""
            yield (
                f"{key}.accumulation: {batches} batches per step cannot be shared by compute.processes"
                f" {compute.processes}{machines}"
            )


def processes_can_meet(config: Config) -> Iterator[str]:
    """Several machines know where they meet, and processes have what their strategy works on."""
    compute = config.compute
    host, _, port = (compute.rendezvous or "").rpartition(":")
    if compute.rendezvous is not None and not (host and port.isdecimal() and 0 < int(port) < 2**16):
        yield f"compute.rendezvous: {compute.rendezvous!r} is not host:port, with a port of 1 to 65535"
    if compute.strategy == "zero2" and compute.device == "cpu":
        yield "compute.strategy: zero2 is for GPUs, but compute.device is cpu"
    if (compute.machines > 1) != (compute.rendezvous is not None):
        yield (
            f"compute.rendezvous: {compute.rendezvous or 'null'}, but compute.machines is {compute.machines}; several"
            " machines meet at host:port of one of them, a single one at null"
        )


def there_is_something_to_train(config: Config) -> Iterator[str]:
    """Parts to train exist, and losses weigh something."""
    train, selector = config.train, config.selector
    for key, parts, lora in (
        ("train.trainable", train.trainable, ("model.lora", config.model.lora)),
        ("selector.trainable", selector.trainable, ("selector.model.lora", selector.model.lora)),
    ):
        if not parts:
            yield f"{key}: empty, so nothing would be trained"
        if "lora" in parts and lora[1].rank == 0:
            yield f"{key}: lora is listed, but {lora[0]}.rank is 0"
        if "lora" not in parts and lora[1].rank and lora[1].targets:
            yield (
                f"{key}: lora is not listed, so adapters of {lora[0]}.rank {lora[1].rank} would never be trained; list"
                f" it, or set {lora[0]}.rank to 0"
            )
        if lora[1].rank and not lora[1].targets:
            yield f"{lora[0]}.targets: empty, but {lora[0]}.rank is {lora[1].rank}; rank 0 trains without adapters"
    if not any((train.loss.ce, train.loss.bce, train.loss.dice)):
        yield "train.loss: ce, bce and dice all weigh 0, so nothing would be learnt"
    grounding, asked = train.grounding, set(train.alignment.families)
    if grounding.families and not (grounding.naming or grounding.pointing):
        yield "train.grounding.families: naming and pointing both weigh 0, so nothing would be asked of them"
    if train.alignment.steps and not (asked & set(grounding.families) if asked else grounding.families):
        yield "train.alignment.families: none of them is in train.grounding.families, which is what the phase asks for"
    if not any((selector.score_weight, selector.ce_weight)):
        yield "selector.score_weight: 0, as selector.ce_weight is, so nothing would be learnt"


def training_has_a_start_and_clips(config: Config) -> Iterator[str]:
    """A step's clips and negatives can be drawn, and training starts from something."""
    train = config.train
    contrastive = train.contrastive
    if contrastive.weight and contrastive.num_negatives >= contrastive.bank_size:
        yield (
            f"train.contrastive.num_negatives: {contrastive.num_negatives} never fit beside a positive in a bank of"
            f" train.contrastive.bank_size {contrastive.bank_size}, so the loss would always be 0"
        )
    generated = _num_generated_clips(config)
    for name in PHASES:
        phase = getattr(train, name)
        if generated is not None and phase.steps and phase.samples > generated:
            yield f"train.{name}.samples: {phase.samples} per step, but data.train has {generated} clips"
    yield from _labelling_leaves_enough(config, generated)
    if config.model.base is None and train.image.steps == 0:
        yield "model.base: no pretrained weights named, and train.image.steps is 0: nothing to start from"


def _labelling_leaves_enough(config: Config, generated: int | None) -> Iterator[str]:
    """Of the generated clips some are labelled, and some of those are left to train on; a draw decides which."""
    labelled = config.pseudolabel.share * (generated or 0)
    if generated is None or "selector" not in (config.keyframes.source, *config.keyframes.comparisons):
        return
    if labelled < FEWEST_LABELLED:
        yield (
            f"pseudolabel.share: {config.pseudolabel.share} of the {generated} generated clips of data.train; a"
            f" selector needs {FEWEST_LABELLED} labelled clips, to be trained and to be validated"
        )
    elif labelled * (1 - config.selector.held_out) < 1:
        yield (
            f"selector.held_out: {config.selector.held_out} of the {labelled:.0f} labelled clips leaves none to train"
            " on"
        )


def _num_generated_clips(config: Config) -> int | None:
    """Clips to train on, where all of them are generated; None where a data set decides."""
    names = [entry.split.split("/") for entry in config.data.train]
    if any(dataset != "synthetic" for dataset, _ in names):
        return None
    return sum(sum(config.stage.synthetic.clips.get(split, {}).values()) for _, split in names)


def phases_can_be_optimised(config: Config) -> Iterator[str]:
    """A warm-up ends within its phase, and rates are given to what the phase trains."""
    train, selector = config.train, config.selector
    for key, steps, optimiser, parts in (
        ("train.alignment", train.alignment.steps, train.alignment.optimiser, ALIGNMENT_PARTS),
        ("train.image", train.image.steps, train.image.optimiser, IMAGE_PARTS),
        ("train.tracking", train.tracking.steps, train.tracking.optimiser, TRACKING_PARTS),
        ("train.clip", train.clip.steps, train.clip.optimiser, train.trainable),
        ("selector", selector.steps, selector.optimiser, selector.trainable),
    ):
        if 0 < steps < optimiser.warmup_steps:
            yield (
                f"{key}.optimiser.warmup_steps: {optimiser.warmup_steps}, but {key}.steps is {steps}, so the rate"
                " would never be reached"
            )
        if steps and (untrained := sorted(set(optimiser.rate_factors) - set(parts))):
            yield f"{key}.optimiser.rate_factors: {', '.join(untrained)} is not trained there; take it out"


def what_starts_anew_is_trained(config: Config) -> Iterator[str]:
    """A part that starts at random is trained: it would stay random, and is not saved where the rest is a base's."""
    if config.train.clip.fresh_text_hidden_fcs and "text_hidden_fcs" not in config.train.trainable:
        yield "train.clip.fresh_text_hidden_fcs: true, but text_hidden_fcs is not in train.trainable and stays random"
