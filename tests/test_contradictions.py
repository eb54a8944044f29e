"""Every contradiction of `params.yaml` has a row: what is changed, and the key that the error names. Exit code 2."""

import copy
import re
from pathlib import Path
from typing import get_args

import pytest
from local_imports import ROOT
from ruamel.yaml import YAML

from glus.config import load_config, parse_config, read_parameters
from glus.config.base import FAMILIES, ClipKind
from glus.config.contradictions import CHECKS
from glus.errors import ConfigError
from glus.staging.synthetic.expressions import describe
from glus.staging.synthetic.scene import clip_generator, draw_scene

TINY = ROOT / "glus" / "presets" / "tiny.yaml"
HUGE = 10**30
ALIGNED = "train.alignment.steps=100 train.grounding.families=[appearance]"

# what is changed -> key that is named
ROWS: list[tuple[str, str]] = [
    # numbers beyond their range, or none at all
    ("seed=-1", "seed"),
    (f"seed={HUGE}", "seed"),
    ("stage.synthetic.seed=-1", "stage.synthetic.seed"),
    ("evaluate.seed=-1", "evaluate.seed"),
    (f"keyframes.batch={HUGE}", "keyframes.batch"),
    (f"train.clip.steps={HUGE}", "train.clip.steps"),
    ("compute.threads=1000000", "compute.threads"),
    ("compute.processes=1000000", "compute.processes"),
    ("compute.workers=1000000", "compute.workers"),
    ("compute.machines=0", "compute.machines"),
    ("compute.keep_checkpoints=0", "compute.keep_checkpoints"),
    ("compute.strategy=fsdp1", "compute.strategy"),
    ("train.loss_mean=sum", "train.loss_mean"),
    ("stage.synthetic.size_px=1000000000", "stage.synthetic.size_px"),
    (f"stage.synthetic.num_frames={HUGE}", "stage.synthetic.num_frames"),
    (f"model.language.vocabulary={HUGE}", "model.language.vocabulary"),
    ("model.language.vocabulary=300", "model.language.vocabulary"),
    ("train.clip.optimiser.learning_rate=1.0e+300", "train.clip.optimiser.learning_rate"),
    ("train.clip.optimiser.clip_norm=1.0e-300", "train.clip.optimiser.clip_norm"),
    ("train.contrastive.temperature=1.0e-320", "train.contrastive.temperature"),
    ("train.loss.dice=1.0e+308", "train.loss.dice"),
    ("data.train=[{split: synthetic/train, weight: 1.0e+308}]", "data.train.0.weight"),
    ("stage.synthetic.texture=1.0e+308", "stage.synthetic.texture"),
    ("evaluate.boundary=5.0", "evaluate.boundary"),
    ("compute.strategy=zero2 compute.device=cpu", "compute.strategy"),
    ("compute.machines=2 compute.rendezvous=node-1:99999", "compute.rendezvous"),
    ("compute.processes=3", "train.image.accumulation"),
    ("compute.machines=2", "compute.rendezvous"),
    ("compute.rendezvous=node-1:29500", "compute.rendezvous"),
    ("compute.rendezvous=node-1", "compute.rendezvous"),
    ("stage.synthetic.noise=.inf", "stage.synthetic.noise"),
    ("stage.synthetic.texture=.nan", "stage.synthetic.texture"),
    ("train.clip.optimiser.learning_rate=.inf", "train.clip.optimiser.learning_rate"),
    ("train.clip.optimiser.weight_decay=.inf", "train.clip.optimiser.weight_decay"),
    ("train.image.optimiser.clip_norm=.inf", "train.image.optimiser.clip_norm"),
    ("selector.optimiser.learning_rate=.inf", "selector.optimiser.learning_rate"),
    ("train.clip.optimiser.rate_factors={lora: .inf}", "train.clip.optimiser.rate_factors.lora"),
    ("train.loss.bce=.inf", "train.loss.bce"),
    ("train.contrastive.weight=.inf", "train.contrastive.weight"),
    ("train.contrastive.temperature=.inf", "train.contrastive.temperature"),
    ("selector.score_weight=.inf", "selector.score_weight"),
    ("evaluate.boundary=.inf", "evaluate.boundary"),
    ("data.train=[{split: synthetic/train, weight: .inf}]", "data.train.0.weight"),
    ("train.clip.optimiser.betas=[1.0, 1.0]", "train.clip.optimiser.betas.0"),
    ("train.tracking.optimiser.betas=[0.9, 1.0]", "train.tracking.optimiser.betas.1"),
    ("selector.optimiser.betas=[0.9, 1.0]", "selector.optimiser.betas.1"),
    ("model.lora.dropout=1.0", "model.lora.dropout"),
    ("selector.model.lora.dropout=1.0", "selector.model.lora.dropout"),
    ("pseudolabel.share=0.0", "pseudolabel.share"),
    ("selector.held_out=0.0", "selector.held_out"),
    ("selector.held_out=1.0", "selector.held_out"),
    ("tracking.experiment=''", "tracking.experiment"),
    # frames beyond the clip
    ("model.num_context_frames=13", "model.num_context_frames"),
    ("model.num_query_frames=13", "model.num_query_frames"),
    (f"{ALIGNED} train.alignment.num_context_frames=13", "train.alignment.num_context_frames"),
    ("train.image.num_context_frames=13", "train.image.num_context_frames"),
    ("train.tracking.num_frames=13", "train.tracking.num_frames"),
    ("selector.num_context_frames=[8, 13]", "selector.num_context_frames"),
    ("selector.num_context_frames=[9, 8]", "selector.num_context_frames"),
    ("selector.num_query_frames=13", "selector.num_query_frames"),
    ("selector.query_in_context=true selector.num_query_frames=9", "selector.num_query_frames"),
    ("stage.synthetic.grey_frames=[6, 4]", "stage.synthetic.grey_frames"),
    ("stage.synthetic.grey_frames=[4, 12]", "stage.synthetic.grey_frames"),
    # windows that leave frames without an answer
    ("propagate.window_stride=5", "propagate.window_stride"),
    ("pseudolabel.window_stride=5", "pseudolabel.window_stride"),
    (
        "propagate.comparisons.strided=[appearance] propagate.comparisons.window_strides=[5]",
        "propagate.comparisons.window_strides.0",
    ),
    (
        "propagate.window_stride=2 propagate.comparisons.strided=[appearance] propagate.comparisons.window_strides=[2]",
        "propagate.comparisons.window_strides",
    ),
    ("propagate.comparisons.strided=[appearance] propagate.comparisons.window_strides=[]", "propagate.comparisons"),
    # a tracker carries the masks on
    ("propagate.tracker=cutie", "propagate.cutie_weights"),
    (
        "propagate.tracker=cutie propagate.cutie_weights=c.pth propagate.comparisons.memory_off=[greyed]",
        "propagate.comparisons.memory_off",
    ),
    ("propagate.tracker=sam2 propagate.use_memory=false", "propagate.tracker"),
    ("propagate.tracker=sam2 propagate.comparisons.memory_off=[greyed]", "propagate.comparisons.memory_off"),
    ("propagate.tracker=sam2 propagate.comparisons.strided=[greyed]", "propagate.comparisons.strided"),
    # a part that starts at random and stays so
    (
        "train.clip.fresh_text_hidden_fcs=true train.trainable=[lora] train.clip.optimiser.rate_factors={}",
        "train.clip.fresh_text_hidden_fcs",
    ),
    # sizes that do not divide
    ("model.token_pool=5", "model.token_pool"),
    ("model.token_pool=128", "model.token_pool"),
    ("model.token_pool=1 model.vision.image_size=128", "model.token_pool"),
    ("model.seg_layer=penultimate model.language.num_layers=1", "model.seg_layer"),
    (
        f"{ALIGNED} model.token_pool=1 stage.synthetic.num_frames=40 train.alignment.num_context_frames=35",
        "model.token_pool",
    ),
    (f"{ALIGNED} model.seg_layer=penultimate", "train.grounding.families"),
    (f"{ALIGNED} model.language.num_layers=1", "train.grounding.families"),
    ("model.vision.patch_size=7", "model.vision.patch_size"),
    ("model.vision.patch_size=65", "model.vision.patch_size"),
    ("model.vision.num_heads=3", "model.vision.num_heads"),
    ("model.language.num_heads=3", "model.language.num_heads"),
    ("model.language.num_heads=128", "model.language.num_heads"),
    ("selector.model.clusters=[4, 8, 16]", "selector.model.clusters"),
    ("selector.model.clusters=[65, 8, 4]", "selector.model.clusters"),
    ("selector.model.neighbours=[5]", "selector.model"),
    ("selector.model.neighbours=[17, 3, 3]", "selector.model.neighbours"),
    # nothing to train, nothing to learn
    ("train.trainable=[]", "train.trainable"),
    ("selector.trainable=[]", "selector.trainable"),
    ("train.trainable=[embeddings, mm_projector, text_hidden_fcs]", "train.trainable"),
    ("selector.trainable=[score_head]", "selector.trainable"),
    ("pseudolabel.share=1.0e-9", "pseudolabel.share"),
    ("selector.held_out=0.999", "selector.held_out"),
    ("model.lora.targets=[]", "model.lora.targets"),
    ("selector.model.lora.targets=[]", "selector.model.lora.targets"),
    ("model.lora.targets=[no_such_proj]", "model.lora.targets.0"),
    ("selector.model.lora.targets=[q_proj, no_such_proj]", "selector.model.lora.targets.1"),
    ("model.lora.rank=0", "train.trainable"),
    ("selector.model.lora.rank=0", "selector.trainable"),
    ("train.loss={ce: 0.0, bce: 0.0, dice: 0.0}", "train.loss"),
    (
        "train.grounding.families=[appearance] train.grounding.naming=0.0 train.grounding.pointing=0.0",
        "train.grounding.families",
    ),
    ("train.alignment.steps=100", "train.alignment.families"),
    (f"{ALIGNED} train.alignment.families=[greyed]", "train.alignment.families"),
    ("selector.score_weight=0.0 selector.ce_weight=0.0", "selector.score_weight"),
    ("train.contrastive.num_negatives=512", "train.contrastive.num_negatives"),
    ("train.clip.optimiser.warmup_steps=451", "train.clip.optimiser.warmup_steps"),
    ("selector.optimiser.warmup_steps=251", "selector.optimiser.warmup_steps"),
    ("train.clip.optimiser.rate_factors={vision_tower: 0.1}", "train.clip.optimiser.rate_factors"),
    (f"{ALIGNED} train.alignment.steps=49", "train.alignment.optimiser.warmup_steps"),
    (
        f"{ALIGNED} train.alignment.optimiser.rate_factors={{mask_decoder: 0.1}}",
        "train.alignment.optimiser.rate_factors",
    ),
    ("train.image.optimiser.rate_factors={lora: 0.1}", "train.image.optimiser.rate_factors"),
    ("selector.optimiser.rate_factors={no_such_part: 0.1}", "selector.optimiser.rate_factors"),
    ("train.image.steps=0 train.early_stop_step=300 pseudolabel.checkpoint=models/glus/step-000300", "model.base"),
    ("train.clip.samples=100000", "train.clip.samples"),
    ("train.checkpoint_every=7", "train.checkpoint_every"),
    ("selector.checkpoint_every=7", "selector.checkpoint_every"),
    ("train.alignment.accumulation=3", "train.alignment.accumulation"),
    ("train.image.accumulation=3", "train.image.accumulation"),
    ("selector.accumulation=3", "selector.accumulation"),
    # the early stop: beyond the end, on each border, before the paper's training
    ("train.early_stop_step=100000", "train.early_stop_step"),
    ("train.early_stop_step=260 pseudolabel.checkpoint=models/glus/step-000260", "train.early_stop_step"),
    ("train.early_stop_step=420 pseudolabel.checkpoint=models/glus/step-000420", "train.early_stop_step"),
    ("train.kept_steps=[700, 870]", "train.kept_steps"),
    ("train.kept_steps=[700, 700]", "train.kept_steps"),
    ("train.early_stop_step=870 pseudolabel.checkpoint=models/glus/step-000870", "train.early_stop_step"),
    ("train.early_stop_step=100 pseudolabel.checkpoint=models/glus/step-000100", "train.early_stop_step"),
    ("train.clip.steps=0", "train.early_stop_step"),
    # names of nothing
    ("data.evaluation=[mevis/valid_u]", "data.evaluation"),
    ("data.train=[{split: revos/train, weight: 1.0}]", "data.train"),
    ("stage.exclude={mevis/train: ['*']}", "stage.exclude"),
    ("stage.splits=[synthetic/train, synthetic/valid_u, synthetic/test, own/..]", "stage.splits.3"),
    ("model.sam2_config=no_such.yaml", "model.sam2_config"),
    ("stage.splits=[synthetic/train, synthetic/test, synthetic/extra]", "stage.splits"),
    ("stage.synthetic.clips.test={plain: 0}", "stage.synthetic.clips.test"),
    ("stage.synthetic.other_sentences={train: 0}", "stage.synthetic.other_sentences"),
    ("stage.roots={no_such_set: elsewhere}", "stage.roots.no_such_set"),
    ("stage.roots={synthetic: elsewhere}", "stage.roots.synthetic"),
    ("train.grounding.families=[no_such_family]", "train.grounding.families"),
    ("train.grounding.families=[opposed]", "train.grounding.families"),
    ("train.clip.families=[no_such_family]", "train.clip.families"),
    ("train.image.families=[appearance, no_such_family]", "train.image.families"),
    ("train.image.families=[appearance, motion]", "train.image.families"),  # the default has no such sentences there
    ("train.tracking.families=[occluded]", "train.tracking.families"),
    ("propagate.comparisons.memory_off=[no_such_family]", "propagate.comparisons.memory_off"),
    ("propagate.comparisons.key_frames=[no_such_family]", "propagate.comparisons.key_frames"),
    ("keyframes.comparisons=[no_such_source]", "keyframes.comparisons.0"),
    ("keyframes.source=file", "keyframes.files"),
    ("model.vision_tower=elsewhere", "model.vision_tower"),
    ("model.sam2_weights=elsewhere", "model.sam2_weights"),
    ("selector.model.vision_tower=elsewhere", "selector.model.vision_tower"),
    ("evaluate.failures.found=0.6", "evaluate.failures"),
    # named twice
    ("stage.splits=[synthetic/train, synthetic/train, synthetic/valid_u, synthetic/test]", "stage.splits"),
    ("data.evaluation=[synthetic/test, synthetic/test]", "data.evaluation"),
    ("data.train=[{split: synthetic/train, weight: 1.0}, {split: synthetic/train, weight: 2.0}]", "data.train"),
    ("train.clip.families=[greyed, greyed]", "train.clip.families"),
    ("train.trainable=[lora, lora, embeddings, mm_projector, text_hidden_fcs]", "train.trainable"),
    ("selector.trainable=[lora, lora]", "selector.trainable"),
    ("model.lora.targets=[q_proj, q_proj]", "model.lora.targets"),
    ("keyframes.comparisons=[first_frame, first_frame]", "keyframes.comparisons"),
    ("propagate.comparisons.memory_off=[greyed, greyed]", "propagate.comparisons.memory_off"),
    # read from where the pipeline writes
    ("model.base=models/glus/final", "model.base"),
    ("model.base=./models/../models/glus/step-000600", "model.base"),
    (f"model.base={Path('models/glus').absolute()}", "model.base"),
    ("model.base=elsewhere model.vision_tower=models/glus/tower", "model.vision_tower"),
    ("model.base=elsewhere model.sam2_weights=models/selector/sam2.pt", "model.sam2_weights"),
    ("model.sam2_config=models/glus/sam2.yaml", "model.sam2_config"),
    ("selector.model.base=models/selector", "selector.model.base"),
    ("selector.model.base=elsewhere selector.model.vision_tower=predictions", "selector.model.vision_tower"),
    ("stage.roots={mevis: data/staged/mevis}", "stage.roots.mevis"),
    ("stage.roots={own: data/raw/synthetic}", "stage.roots.own"),
    ("stage.roots={mevis: data}", "stage.roots.mevis"),
    ("keyframes.files={synthetic/test: data/keyframes/mine.json}", "keyframes.files.synthetic/test"),
    ("keyframes.files={synthetic/test: predictions/mine.json}", "keyframes.files.synthetic/test"),
]


VALUES = read_parameters(TINY)


def parse(*overrides: str) -> None:
    """Validates the default with some values replaced, e.g. `seed=1`; as `glus params` does, but without the file."""
    values = copy.deepcopy(VALUES)
    for override in overrides:
        key, _, value = override.partition("=")
        *parents, last = key.split(".")
        section = values
        for parent in parents:
            section = section[parent]
        section[last] = YAML(typ="safe").load(value)
    parse_config(values, Path("params.yaml"))


@pytest.mark.parametrize(("overrides", "key"), ROWS, ids=[row[0] for row in ROWS])
def test_a_contradiction_is_one_sentence_that_names_the_key(overrides: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(*re.split(r" (?=[a-z_0-9]+(?:\.[a-z_0-9]+)+=)", overrides))
    told = str(caught.value).removeprefix("params.yaml: ")
    assert caught.value.exit_code == 2
    assert any(part.startswith((f"{key}:", f"{key} =")) for part in told.split("; ")), told
    assert "\n" not in told


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("model.token_pool=5", "train.trainable=[]", "train.early_stop_step=870", "model.base=null")
    assert all(key in str(caught.value) for key in ("model.token_pool", "train.trainable", "early_stop_step", "870"))


def test_a_safe_way_is_said_for_weights_inside_an_output() -> None:
    with pytest.raises(ConfigError, match=r"cp -r models/glus/final weights/`, then model\.base=weights/final"):
        parse("model.base=models/glus/final")


def test_what_lies_behind_a_link_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/glus/final").mkdir(parents=True)
    (tmp_path / "weights").symlink_to("models/glus/final")
    with pytest.raises(ConfigError, match=r"model\.base: weights lies in models/glus"):
        parse("model.base=weights")


@pytest.mark.parametrize(
    "overrides",
    [
        ["keyframes.source=first_frame"],
        ["keyframes.source=first_frame", "keyframes.comparisons=[]"],
        ["model.base=weights/final", "model.token_pool=5"],  # the tower that is given decides
        ["pseudolabel.share=1.0", "model.lora.rank=0", "model.lora.targets=[]", "train.trainable=[embeddings,"
         " mm_projector, text_hidden_fcs]"],
        ["train.clip.families=[]", "propagate.comparisons.memory_off=[all]"],
        ["stage.roots={mevis: ../mevis}"],
        ["model.sam2_config=sam2.1_hiera_t.yaml"],
        ["keyframes.source=first_frame", "keyframes.comparisons=[]", "pseudolabel.share=1.0e-9"],
        ["stage.synthetic.num_frames=5", "stage.synthetic.grey_frames=[1, 2]", "selector.num_context_frames=[4, 5]"],
    ],
    ids=lambda overrides: overrides[0],
)  # fmt: skip
def test_what_goes_together_is_let_through(overrides: list[str]) -> None:
    parse(*overrides)


def test_every_check_has_a_row() -> None:
    """A check that never speaks would be dead."""
    assert len(CHECKS) == len(set(CHECKS)) == 21


def test_families_are_those_that_the_generator_speaks_of() -> None:
    config = load_config(TINY).stage.synthetic
    found = set()
    for kind in get_args(ClipKind):
        for index in range(20):
            rng = clip_generator(config, "test", kind, index)
            found |= {item.family for item in describe(draw_scene(config, "test", kind, index, rng), rng, 9, 9)}
    assert found == set(FAMILIES["synthetic"])


@pytest.mark.parametrize("num_frames", [4, 5, 6, 12])
def test_objects_vanish_in_clips_of_any_length(num_frames: int) -> None:
    config = load_config(TINY).stage.synthetic.model_copy(update={"num_frames": num_frames})
    for index in range(20):
        scene = draw_scene(config, "test", "vanishing", index, clip_generator(config, "test", "vanishing", index))
        assert any((item.opacity == 0).any() for item in scene.objects)
