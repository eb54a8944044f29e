"""Values that are each right and do not go together; every contradiction names a key, and all are told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from glus.config.base import FAMILIES
from glus.config.learning import (
    PHASES,
    phases_can_be_optimised,
    processes_can_meet,
    there_is_something_to_train,
    training_can_be_resumed_and_shared,
    training_has_a_start_and_clips,
    what_starts_anew_is_trained,
)
from glus.config.paths import outside_paths_are_safe, sam2_is_described
from glus.config.root import Config
from glus.config.shapes import clips_are_long_enough, selector_shapes_fit, shapes_fit
from glus.config.training import GroundingConfig, PhaseConfig
from glus.paths import FINAL_MODEL, checkpoint

WITH_FAMILIES = (*PHASES, "grounding")  # sections of `train`
EVERYTHING = "all"  # in `propagate.comparisons`, beside names of families
COMPARISONS = ("memory_off", "key_frames", "strided", "training_steps")


def splits_are_staged(config: Config) -> Iterator[str]:
    """What is trained on, evaluated or thinned out is staged."""
    staged, data = config.stage.splits, config.data
    for key, names in (
        ("data.train", [entry.split for entry in data.train]),
        ("data.evaluation", data.evaluation),
        ("stage.exclude", list(config.stage.exclude)),
    ):
        for name in names:
            if name not in staged:
                yield f"{key}: {name} is not among stage.splits ({', '.join(sorted(staged))})"


def nothing_is_listed_twice(config: Config) -> Iterator[str]:
    """Lists name each thing once."""
    lists: dict[str, Sequence[str]] = {
        "stage.splits": config.stage.splits,
        "data.train": [entry.split for entry in config.data.train],
        "data.evaluation": config.data.evaluation,
        **{f"train.{name}.families": getattr(config.train, name).families for name in WITH_FAMILIES},
        "train.trainable": config.train.trainable,
        "selector.trainable": config.selector.trainable,
        "model.lora.targets": config.model.lora.targets,
        "selector.model.lora.targets": config.selector.model.lora.targets,
        "keyframes.comparisons": config.keyframes.comparisons,
        "propagate.comparisons.memory_off": config.propagate.comparisons.memory_off,
        "propagate.comparisons.key_frames": config.propagate.comparisons.key_frames,
        "propagate.comparisons.strided": config.propagate.comparisons.strided,
        "propagate.comparisons.training_steps": config.propagate.comparisons.training_steps,
        "train.kept_steps": [str(step) for step in config.train.kept_steps],
        "propagate.comparisons.window_strides": [str(each) for each in config.propagate.comparisons.window_strides],
    }
    for key, names in lists.items():
        if twice := sorted({name for name in names if names.count(name) > 1}):
            yield f"{key}: {', '.join(twice)} is listed twice"


def generated_splits_are_described(config: Config) -> Iterator[str]:
    """The generator is told how many clips and sentences each of its splits has."""
    synthetic = config.stage.synthetic
    for name in config.stage.splits:
        dataset, split = name.split("/")
        if dataset != "synthetic":
            continue
        if split not in synthetic.clips:
            yield f"stage.splits: {name} is not generated, stage.synthetic.clips has no {split!r}"
        elif not sum(synthetic.clips[split].values()):
            yield f"stage.synthetic.clips.{split}: no clips, but stage.splits lists {name}"
    for key in ("appearance_sentences", "other_sentences"):
        if getattr(synthetic, key).keys() != synthetic.clips.keys():
            yield f"stage.synthetic.{key}: a number for each split of stage.synthetic.clips is needed"
    shortest, longest = synthetic.grey_frames
    if not shortest <= longest < synthetic.num_frames:
        yield f"stage.synthetic.grey_frames: {shortest} to {longest} does not fit num_frames {synthetic.num_frames}"


def labelling_model_is_written(config: Config) -> Iterator[str]:
    """The model that labels is the final one, or the early-stop one, from within the phase that the paper trains."""
    train = config.train
    before, last = train.steps_before_clip, train.total_steps
    if train.early_stop_step > last:
        yield f"train.early_stop_step: {train.early_stop_step} is beyond the last step {last}"
    elif not before < train.early_stop_step < last:
        yield (
            f"train.early_stop_step: {train.early_stop_step} does not lie within the clip phase, which begins after"
            f" step {before} and ends with step {last}; the early-stop model is one that this phase has not finished"
        )
    early = checkpoint(train.early_stop_step).as_posix()
    if config.pseudolabel.checkpoint not in (early, FINAL_MODEL.as_posix()):
        yield (
            f"pseudolabel.checkpoint: {config.pseudolabel.checkpoint}, but train.early_stop_step"
            f" {train.early_stop_step} writes {early}, and the end of training {FINAL_MODEL}"
        )


def kept_models_are_of_steps_before_the_last(config: Config) -> Iterator[str]:
    """The last step's model is kept anyway, and steps beyond it do not come."""
    last = config.train.total_steps
    if late := [step for step in config.train.kept_steps if step >= last]:
        yield f"train.kept_steps: {', '.join(map(str, late))}, but only steps before the last one, {last}, can be kept"


def listed_key_frames_are_named(config: Config) -> Iterator[str]:
    """The source `file` has a file for every split that it is asked about."""
    if "file" in (config.keyframes.source, *config.keyframes.comparisons):
        missing = [name for name in config.data.evaluation if name not in config.keyframes.files]
        if missing:
            yield f"keyframes.files: no file for {', '.join(missing)}, which the source `file` needs"


def given_weights_have_a_use(config: Config) -> Iterator[str]:
    """Weights of a part are named beside the base that they complete."""
    model, selector = config.model, config.selector.model
    for key, value, base_key, base in (
        ("model.vision_tower", model.vision_tower, "model.base", model.base),
        ("model.sam2_weights", model.sam2_weights, "model.base", model.base),
        ("selector.model.vision_tower", selector.vision_tower, "selector.model.base", selector.base),
    ):
        if value is not None and base is None:
            yield f"{key}: {value} would not be read, since {base_key} is null"


def families_exist(config: Config) -> Iterator[str]:
    """Families that are trained on or compared by exist, and generated clips to train on are spoken of in them."""
    known = {family for families in FAMILIES.values() for family in families}
    comparisons = config.propagate.comparisons
    named = {f"train.{name}": (getattr(config.train, name).families, known) for name in WITH_FAMILIES}
    named |= {f"propagate.comparisons.{key}": (getattr(comparisons, key), known | {EVERYTHING}) for key in COMPARISONS}
    for key, (families, there) in named.items():
        if unknown := sorted(set(families) - there):
            of_phase = f"{key}.families" if key.startswith("train.") else key
            yield f"{of_phase}: no family is called {', '.join(unknown)} (there are: {_listed(there)})"
    generated = [entry.split for entry in config.data.train if entry.split.startswith("synthetic/")]
    if len(generated) < len(config.data.train):
        return  # what a data set tells apart is for its reader to say
    has = {family for split in generated for family in _families_of(config, split)}
    for name in WITH_FAMILIES:
        section: PhaseConfig | GroundingConfig = getattr(config.train, name)
        drawn = set(section.families) if isinstance(section, GroundingConfig) or section.steps else set()
        if absent := sorted(drawn & known - has):
            yield f"train.{name}.families: no clip of data.train has {', '.join(absent)} (there are: {_listed(has)})"


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _families_of(config: Config, split: str) -> set[str]:
    """Families that a generated split's clips are spoken of in."""
    name = split.split("/")[1]
    clips = {kind for kind, count in config.stage.synthetic.clips.get(name, {}).items() if count}
    families = {str(kind) for kind in clips} - {"plain", "twins"}
    if "plain" in clips:
        families.add("appearance")
    if config.stage.synthetic.other_sentences.get(name, 0):
        families |= {"shape", "several"} if "plain" in clips else set()
        families |= {"motion", "position"} if clips & {"plain", "twins"} else set()
    return families


def windows_answer_for_their_frames(config: Config) -> Iterator[str]:
    """A window answers for frames that it shows; ways that are compared differ from the main one."""
    longest, compared = config.model.num_query_frames, config.propagate.comparisons
    for key, strides in (
        ("pseudolabel.window_stride", [config.pseudolabel.window_stride]),
        ("propagate.window_stride", [config.propagate.window_stride]),
        ("propagate.comparisons.window_strides", compared.window_strides),
    ):
        if (largest := max(strides, default=1)) > longest:
            yield f"{key}: {largest}, but a window has model.num_query_frames {longest}"
    if config.propagate.window_stride in compared.window_strides:
        stride = config.propagate.window_stride
        yield f"propagate.comparisons.window_strides: {stride} is propagate.window_stride itself; take it out"
    if bool(compared.strided) != bool(compared.window_strides):
        yield "propagate.comparisons: strided and window_strides go together; one of them is empty"


def trackers_have_what_they_need(config: Config) -> Iterator[str]:
    """Where a tracker carries masks on, what is compared within a run would be about what it does not do."""
    section = config.propagate
    if section.tracker == "cutie" and section.cutie_weights is None:
        yield (
            "propagate.cutie_weights: null, but propagate.tracker is cutie; name cutie-base-mega.pth, which its authors"
            " publish with the releases of github.com/hkchengrex/Cutie"
        )
    if section.tracker == "glus":
        return
    if section.tracker == "sam2" and not section.use_memory:
        yield "propagate.tracker: sam2 carries masks on by memory, but propagate.use_memory is false"
    for key in ("memory_off", "strided"):
        if getattr(section.comparisons, key):
            yield f"propagate.comparisons.{key}: has no meaning where propagate.tracker is {section.tracker}; empty it"


CHECKS: tuple[Callable[[Config], Iterator[str]], ...] = (
    splits_are_staged,
    nothing_is_listed_twice,
    generated_splits_are_described,
    clips_are_long_enough,
    labelling_model_is_written,
    kept_models_are_of_steps_before_the_last,
    shapes_fit,
    selector_shapes_fit,
    listed_key_frames_are_named,
    training_can_be_resumed_and_shared,
    processes_can_meet,
    there_is_something_to_train,
    training_has_a_start_and_clips,
    given_weights_have_a_use,
    phases_can_be_optimised,
    what_starts_anew_is_trained,
    families_exist,
    windows_answer_for_their_frames,
    trackers_have_what_they_need,
    outside_paths_are_safe,
    sam2_is_described,
)


def find_contradictions(config: Config) -> list[str]:
    """All that does not go together, one line each."""
    return [found for check in CHECKS for found in check(config)]
