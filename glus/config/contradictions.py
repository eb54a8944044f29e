"""Values that are each right and do not go together; every check names the key."""

from __future__ import annotations

from collections.abc import Callable

from glus.config.root import Config
from glus.paths import checkpoint


def splits_are_staged(config: Config) -> None:
    """What is trained on, evaluated or thinned out is staged."""
    staged, data = config.stage.splits, config.data
    for key, names in (
        ("data.train", [entry.split for entry in data.train]),
        ("data.evaluation", data.evaluation),
        ("stage.exclude", list(config.stage.exclude)),
    ):
        for name in names:
            if name not in staged:
                raise ValueError(f"{key}: {name} is not among stage.splits ({', '.join(sorted(staged))})")


def generated_splits_are_described(config: Config) -> None:
    """The generator is told how many clips and sentences each of its splits has."""
    synthetic = config.stage.synthetic
    for name in config.stage.splits:
        dataset, split = name.split("/")
        if dataset == "synthetic" and split not in synthetic.clips:
            raise ValueError(f"stage.splits: {name} is not generated, stage.synthetic.clips has no {split!r}")
    for key in ("appearance_sentences", "other_sentences"):
        if getattr(synthetic, key).keys() != synthetic.clips.keys():
            raise ValueError(f"stage.synthetic.{key}: a number for each split of stage.synthetic.clips is needed")
    shortest, longest = synthetic.grey_frames
    if not shortest <= longest < synthetic.num_frames:
        raise ValueError(
            f"stage.synthetic.grey_frames: {shortest} to {longest} does not fit num_frames {synthetic.num_frames}"
        )


def labelling_model_is_written(config: Config) -> None:
    """The checkpoint that labels is one that training keeps."""
    train = config.train
    if train.early_stop_step > train.total_steps:
        raise ValueError(f"train.early_stop_step: {train.early_stop_step} is beyond the last step {train.total_steps}")
    early = checkpoint(train.early_stop_step).as_posix()
    if config.pseudolabel.checkpoint != early:
        raise ValueError(
            f"pseudolabel.checkpoint: {config.pseudolabel.checkpoint}, but train.early_stop_step"
            f" {train.early_stop_step} writes {early}"
        )


def selector_fits(config: Config) -> None:
    """The selector's lists are as long as each other and in order."""
    fewest, most = config.selector.num_context_frames
    if fewest > most:
        raise ValueError(f"selector.num_context_frames: {fewest} to {most}, the fewest come first")
    if len(config.selector.model.clusters) != len(config.selector.model.neighbours):
        raise ValueError("selector.model: clusters and neighbours must have the same length")


def listed_key_frames_are_named(config: Config) -> None:
    """The source `file` has a file for every split that it is asked about."""
    if "file" in (config.keyframes.source, *config.keyframes.comparisons):
        missing = [name for name in config.data.evaluation if name not in config.keyframes.files]
        if missing:
            raise ValueError(f"keyframes.files: no file for {', '.join(missing)}, which the source `file` needs")


def training_can_be_resumed_and_shared(config: Config) -> None:
    """Checkpoints fall on log lines, and a step's batches can be dealt out evenly."""
    for key, section in (("train", config.train), ("selector", config.selector)):
        if section.checkpoint_every % section.log_every:
            raise ValueError(
                f"{key}.checkpoint_every: {section.checkpoint_every} is not a multiple of {key}.log_every"
                f" {section.log_every}, so a resumed run could not repeat its curves"
            )
    for key, batches in (
        *((f"train.{name}", getattr(config.train, name).accumulation) for name in ("image", "tracking", "clip")),
        ("selector", config.selector.accumulation),
    ):
        if batches % config.compute.processes:
            raise ValueError(
                f"{key}.accumulation: {batches} batches per step cannot be shared by compute.processes"
                f" {config.compute.processes}"
            )


def there_is_something_to_train(config: Config) -> None:
    """Adapters that are trained exist, a step's clips can be drawn, and training starts from something."""
    if "lora" in config.train.trainable and config.model.lora.rank == 0:
        raise ValueError("train.trainable: lora is listed, but model.lora.rank is 0")
    generated = _num_generated_clips(config)
    for name in ("image", "tracking", "clip"):
        samples = getattr(config.train, name).samples
        if generated is not None and samples > generated:
            raise ValueError(f"train.{name}.samples: {samples} per step, but data.train has {generated} clips")
    if config.model.base is None and config.train.image.steps == 0:
        raise ValueError("model.base: no pretrained weights named, and train.image.steps is 0: nothing to start from")


def _num_generated_clips(config: Config) -> int | None:
    """Clips to train on, where all of them are generated; None where a data set decides."""
    names = [entry.split.split("/") for entry in config.data.train]
    if any(dataset != "synthetic" for dataset, _ in names):
        return None
    return sum(sum(config.stage.synthetic.clips[split].values()) for _, split in names)


CHECKS: tuple[Callable[[Config], None], ...] = (
    splits_are_staged,
    generated_splits_are_described,
    labelling_model_is_written,
    selector_fits,
    listed_key_frames_are_named,
    training_can_be_resumed_and_shared,
    there_is_something_to_train,
)


def find_contradictions(config: Config) -> list[str]:
    """What does not go together, one line for each check that fails."""
    found = []
    for check in CHECKS:
        try:
            check(config)
        except ValueError as error:
            found.append(str(error))
    return found
