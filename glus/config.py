"""`params.yaml` as frozen, validated sections: one per step, plus `model`, `data`, `tracking` and `compute`.

Loading is strict: an unknown key, a value of the wrong type or a contradiction between two values is an
error that names the key. Values of the method cite the paper's table beside their default or in the presets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from glus.errors import ConfigError

DATASETS = ("mevis", "refer_youtube_vos", "ref_davis17", "revos", "lvvis", "reasonvos", "synthetic", "own")
PRESETS = Path(__file__).resolve().parent.parent / "presets"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
SplitName = Annotated[str, Field(pattern=rf"^({'|'.join(DATASETS)})/[A-Za-z0-9_.-]+$")]
ClipKind = Literal["plain", "occluded", "vanishing", "twins", "greyed", "starts_grey"]


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys refused, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


# ---------------------------------------------------------------- stage


class SyntheticConfig(Section):
    """The generated set: textured scenes with moving shapes, written in the published MeViS layout."""

    seed: int
    size_px: Annotated[int, Field(ge=32)]
    num_frames: Annotated[int, Field(ge=4)]
    num_objects: Annotated[int, Field(ge=2, le=4)]
    distinct_colours: Share  # share of the clips in which no two objects have the same colour
    texture: Weight  # amplitude of the background, grey levels
    noise: Weight  # standard deviation of the pixel noise, grey levels
    grey_frames: Annotated[list[Positive], Field(min_length=2, max_length=2)]  # shortest and longest grey interval
    clips: dict[str, dict[ClipKind, Count]]  # split -> kind of clip -> number of clips
    appearance_sentences: dict[str, Positive]  # split -> most sentences of one object's looks
    other_sentences: dict[str, Count]  # split -> most sentences of each family but appearance


class StageConfig(Section):
    """Step 1, paper 5.1: published layouts in, Parquet tables out."""

    splits: Annotated[list[SplitName], Field(min_length=1)]
    roots: dict[str, str]  # dataset -> folder in the dataset's published layout; data/raw/<dataset> where not named
    exclude: dict[SplitName, list[str]] = {}  # split -> videos to leave out: ids, or patterns such as TAO/*
    synthetic: SyntheticConfig

    def root(self, dataset: str) -> Path:
        """Folder of a dataset in its published layout."""
        return Path(self.roots.get(dataset, f"data/raw/{dataset}"))


# ---------------------------------------------------------------- data and model


class MixtureEntry(Section):
    """One training split and how often a sample is drawn from it (Table 7)."""

    split: SplitName
    weight: Rate


class DataConfig(Section):
    """Which staged splits are trained on, and which are segmented and scored."""

    train: Annotated[list[MixtureEntry], Field(min_length=1)]
    evaluation: Annotated[list[SplitName], Field(min_length=1)]


class LanguageConfig(Section):
    """Shape of a language model that is built from scratch (ignored where `model.base` names weights)."""

    vocabulary: Annotated[int, Field(ge=300)]  # sentencepiece vocabulary (with 256 byte pieces)
    hidden_size: Positive
    intermediate_size: Positive
    num_layers: Positive
    num_heads: Positive


class VisionConfig(Section):
    """Shape of a CLIP tower that is built from scratch (ignored where `model.vision_tower` names weights)."""

    image_size: Positive  # pixels; 224 in Table A
    patch_size: Positive
    hidden_size: Positive
    intermediate_size: Positive
    num_layers: Positive
    num_heads: Positive


class MemoryConfig(Section):
    """The memory bank (4.2, B.1): which masks are remembered while training."""

    train_stride: Positive  # 1 in B.2
    max_strided: Positive  # strided memories beside the previous frame: 6, so 7 in all (B.3)
    detach: bool  # true: no gradient through memory, as the published code; false: as the paper says


class LoraConfig(Section):
    """Low-rank adapters on the language model (Table A); rank 0 trains without them."""

    rank: Count
    alpha: Positive
    dropout: Share
    targets: list[str]


class ModelConfig(Section):
    """GLUS: CLIP tower, projector, LLaMA, [SEG] projector, SAM-2."""

    num_context_frames: Positive  # Table A: 4
    num_query_frames: Positive  # Table A: 4
    base: str | None  # folder of pretrained weights; null: built from the shapes below, trained from scratch
    vision_tower: str | None  # folder of a CLIP tower for a base that has none of its own
    sam2_weights: str | None  # SAM-2 checkpoint
    sam2_config: str  # name of a configuration of the sam2 package, or a YAML file
    language: LanguageConfig
    vision: VisionConfig
    token_pool: Positive  # visual tokens in raster order averaged into one: 4 (5.2)
    seg_layer: Literal["last", "penultimate"]  # B.1 says penultimate; released weights need last
    trailing_space: bool  # prompts end in a blank piece before [SEG], as released weights expect
    dynamic_multimask: bool  # inference may take mask tokens 1 to 3 where token 0 is unstable; released weights: true
    memory: MemoryConfig
    lora: LoraConfig


# ---------------------------------------------------------------- training


class OptimiserConfig(Section):
    """AdamW and its schedule (Table A)."""

    learning_rate: Rate
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)]
    weight_decay: Weight  # on matrices only
    warmup_steps: Count
    schedule: Literal["linear", "cosine", "constant"]
    clip_norm: Rate
    rate_factors: dict[str, Rate]  # part of `trainable` -> its share of the rate; 1 for parts that are not named


class PhaseConfig(Section):
    """What every training phase has: how many steps, of how many samples, drawn from which families."""

    steps: Count
    samples: Positive  # clips per batch
    accumulation: Positive  # batches per step, shared by `compute.processes`
    max_expressions: Positive  # expressions drawn per clip
    families: list[str]  # families of expressions to draw from; empty: all
    optimiser: OptimiserConfig


class ImagePhaseConfig(PhaseConfig):
    """Single frames, no memory: what stands for LISA's pretraining at the tiny size (0 steps with real weights)."""

    recall: Weight  # of the loss by which states have to know the words of their conversation


class TrackingPhaseConfig(PhaseConfig):
    """A true first mask carried on, no words: what stands for SAM-2's pretraining at the tiny size."""

    num_frames: Annotated[int, Field(ge=2)]


class ClipPhaseConfig(PhaseConfig):
    """The paper's training: context and query frames, memory, all losses (4.1 to 4.3)."""

    reverse: Share  # share of the query windows that are played backwards; 0 in the paper
    into_grey: Share  # share of the windows that go on into grey frames, where a clip of the synthetic set has them
    fresh_text_hidden_fcs: bool  # true: the [SEG] projector starts at random, as published; the paper takes LISA's
    sum_annotations: bool  # true: annotations of an expression are added, so overlaps count 2, as published


class LossConfig(Section):
    """Weights of the losses that each mask and each [SEG] has (Table A)."""

    ce: Weight
    bce: Weight
    dice: Weight


class ContrastiveConfig(Section):
    """The object contrastive loss and its token bank (4.3, Table A); weight 0 trains without it."""

    weight: Weight
    temperature: Rate
    bank_size: Positive
    num_negatives: Positive
    same_object_negatives: bool  # true: the same object at another time counts as a negative, as published
    single_contributor: bool  # false: the term is dropped where one token alone contributes, as published


Trainable = Literal[
    "vision_tower", "mm_projector", "language", "lora", "embeddings", "lm_head", "text_hidden_fcs",
    "image_encoder", "mask_decoder", "prompt_encoder", "memory_attention", "memory_encoder",
]  # fmt: skip


class TrainConfig(Section):
    """Step 2, paper 4.1 to 4.3, B.2, Table A."""

    image: ImagePhaseConfig
    tracking: TrackingPhaseConfig
    clip: ClipPhaseConfig
    loss: LossConfig
    contrastive: ContrastiveConfig
    trainable: list[Trainable]  # parts trained in the clip phase
    early_stop_step: Positive  # B.4: the step whose weights label the frames, counted over all phases
    vary_conversation: bool  # draw question and answer texts as published; false: always those of inference
    checkpoint_every: Positive  # steps
    log_every: Positive  # steps

    @property
    def total_steps(self) -> int:
        """Steps of all phases."""
        return self.image.steps + self.tracking.steps + self.clip.steps


class PseudolabelConfig(Section):
    """Step 3, paper 4.4 and B.4."""

    checkpoint: str  # folder of the early-stop model
    share: Share  # of the training videos; B.4: half
    use_memory: bool  # false: each frame is judged as a start, not by what memory made of the frames before it
    memory_stride: Positive
    shard_videos: Positive  # videos per shard, the unit of resuming


class SelectorModelConfig(Section):
    """Chat-UniVi's visual tokens: clusters kept by each merging step, and neighbours of its density."""

    base: str | None  # folder of Chat-UniVi weights; null: CLIP, projector and LLaMA of the labelling model
    vision_tower: str | None  # folder of a CLIP tower for a base that has none of its own
    clusters: Annotated[list[Positive], Field(min_length=1)]  # published: 64, 32, 16 of 256 tokens
    neighbours: Annotated[list[Positive], Field(min_length=1)]  # published: 5, 3, 3
    lora: LoraConfig
    head_size: Positive  # width of the score head's middle layer; published: 256


class SelectorConfig(Section):
    """Step 4, paper 4.4, B.4, Table B."""

    model: SelectorModelConfig
    num_context_frames: Annotated[list[Positive], Field(min_length=2, max_length=2)]  # fewest, most; Table B: 8
    num_query_frames: Positive  # Table B: 1; more share the context, so that a frame costs less
    query_in_context: bool  # true: query frames are context frames too, as the published code draws them
    steps: Positive
    samples: Positive
    accumulation: Positive
    max_expressions: Positive
    optimiser: OptimiserConfig
    score_weight: Weight  # lambda_s, Table B
    ce_weight: Weight
    absent_is_ideal: bool  # true: frames without target and prediction count as IoU 1, as published
    held_out: Share  # share of the labelled videos kept for validation
    trainable: list[Literal["vision_tower", "mm_projector", "language", "lora", "embeddings", "lm_head", "score_head"]]
    vary_conversation: bool
    checkpoint_every: Positive
    log_every: Positive


# ---------------------------------------------------------------- inference and evaluation


KeyFrameSourceName = Literal["selector", "chat_univi", "first_frame", "random_frame", "oracle_frame", "file"]


class KeyframesConfig(Section):
    """Step 5, paper B.4, Table 5: a score for every frame, the key frame is the best one."""

    source: KeyFrameSourceName
    comparisons: list[KeyFrameSourceName]  # further sources, to show what the selection is worth
    files: dict[SplitName, str]  # for `file`: JSON or Parquet of each evaluation split's key frames
    max_context_frames: Positive  # published: 11
    batch: Positive  # sequences per forward pass


class ComparisonsConfig(Section):
    """Families segmented once more in another way, to show what a part is worth; `all` stands for every expression."""

    memory_off: list[str]
    key_frames: list[str]  # from the key frames of each of keyframes.comparisons


class PropagateConfig(Section):
    """Step 6, paper 4.1, 4.4, B.3."""

    use_memory: bool
    memory_stride: Positive  # B.3: 3
    published_frame_names: bool  # true: masks of a key-frame run under the wrong names, as published
    comparisons: ComparisonsConfig


class EvaluateConfig(Section):
    """Step 7, paper 5.1."""

    boundary: Rate  # radius of F as a share of the diagonal
    num_examples: Count  # overlay strips in the report
    seed: int  # of the baselines that draw


# ---------------------------------------------------------------- surroundings


class TrackingConfig(Section):
    """MLflow; changes no artifact."""

    enabled: bool
    experiment: str
    variant: str  # name under which this configuration is compared


class ComputeConfig(Section):
    """Where and how wide; changes no artifact beyond float rounding."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    processes: Positive  # that train, segment and score side by side on one machine; one for each GPU
    threads: Positive  # torch's own threads per process
    workers: Count  # that load data, for each training process, and that check it in `stage`


class Config(Section):
    """All of `params.yaml`."""

    seed: int
    stage: StageConfig
    data: DataConfig
    model: ModelConfig
    train: TrainConfig
    pseudolabel: PseudolabelConfig
    selector: SelectorConfig
    keyframes: KeyframesConfig
    propagate: PropagateConfig
    evaluate: EvaluateConfig
    tracking: TrackingConfig
    compute: ComputeConfig

    @model_validator(mode="after")
    def _contradictions(self) -> Config:
        staged = set(self.stage.splits)
        for key, names in (
            ("data.train", [entry.split for entry in self.data.train]),
            ("data.evaluation", self.data.evaluation),
        ):
            for name in names:
                if name not in staged:
                    raise ValueError(f"{key}: {name} is not among stage.splits ({', '.join(sorted(staged))})")
        for name in self.stage.exclude:
            if name not in staged:
                raise ValueError(f"stage.exclude: {name} is not among stage.splits ({', '.join(sorted(staged))})")
        for name in staged:
            dataset, split = name.split("/")
            if dataset == "synthetic" and split not in self.stage.synthetic.clips:
                raise ValueError(f"stage.splits: {name} is not generated, stage.synthetic.clips has no {split!r}")
        synthetic = self.stage.synthetic
        for key in ("appearance_sentences", "other_sentences"):
            if getattr(synthetic, key).keys() != synthetic.clips.keys():
                raise ValueError(f"stage.synthetic.{key}: a number for each split of stage.synthetic.clips is needed")
        shortest, longest = self.stage.synthetic.grey_frames
        if not shortest <= longest < self.stage.synthetic.num_frames:
            raise ValueError(
                f"stage.synthetic.grey_frames: {shortest} to {longest} does not fit num_frames"
                f" {self.stage.synthetic.num_frames}"
            )
        if self.train.early_stop_step > self.train.total_steps:
            raise ValueError(
                f"train.early_stop_step: {self.train.early_stop_step} is beyond the last step {self.train.total_steps}"
            )
        early = f"models/glus/step-{self.train.early_stop_step:06d}"
        if self.pseudolabel.checkpoint != early:
            raise ValueError(
                f"pseudolabel.checkpoint: {self.pseudolabel.checkpoint}, but train.early_stop_step"
                f" {self.train.early_stop_step} writes {early}"
            )
        fewest, most = self.selector.num_context_frames
        if fewest > most:
            raise ValueError(f"selector.num_context_frames: {fewest} to {most}, the fewest come first")
        if "file" in (self.keyframes.source, *self.keyframes.comparisons):
            missing = [name for name in self.data.evaluation if name not in self.keyframes.files]
            if missing:
                raise ValueError(f"keyframes.files: no file for {', '.join(missing)}, which the source `file` needs")
        for key, section in (("train", self.train), ("selector", self.selector)):
            if section.checkpoint_every % section.log_every:
                raise ValueError(
                    f"{key}.checkpoint_every: {section.checkpoint_every} is not a multiple of {key}.log_every"
                    f" {section.log_every}, so a resumed run could not repeat its curves"
                )
        for key, batches in (
            *((f"train.{name}", getattr(self.train, name).accumulation) for name in ("image", "tracking", "clip")),
            ("selector", self.selector.accumulation),
        ):
            if batches % self.compute.processes:
                raise ValueError(
                    f"{key}.accumulation: {batches} batches per step cannot be shared by compute.processes"
                    f" {self.compute.processes}"
                )
        if len(self.selector.model.clusters) != len(self.selector.model.neighbours):
            raise ValueError("selector.model: clusters and neighbours must have the same length")
        if "lora" in self.train.trainable and self.model.lora.rank == 0:
            raise ValueError("train.trainable: lora is listed, but model.lora.rank is 0")
        generated = self._num_generated_clips()
        for key, phase in (("image", self.train.image), ("tracking", self.train.tracking), ("clip", self.train.clip)):
            if generated is not None and phase.samples > generated:
                raise ValueError(f"train.{key}.samples: {phase.samples} per step, but data.train has {generated} clips")
        if self.model.base is None and self.train.image.steps == 0:
            raise ValueError(
                "model.base: no pretrained weights named, and train.image.steps is 0: nothing to start from"
            )
        return self

    def _num_generated_clips(self) -> int | None:
        """Clips to train on, where all of them are generated; None where a data set decides."""
        names = [entry.split.split("/") for entry in self.data.train]
        if any(dataset != "synthetic" for dataset, _ in names):
            return None
        return sum(sum(self.stage.synthetic.clips[split].values()) for _, split in names)

    def parameters(self, sections: Iterable[str]) -> dict[str, Any]:
        """The named sections (dotted keys allowed) as plain data: what a manifest records and DVC compares."""
        everything = self.model_dump(mode="json")
        return {name: _lookup(everything, name) for name in sections}


def _lookup(tree: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        tree = tree[key]
    return tree


def load_config(path: Path = Path("params.yaml")) -> Config:
    """Loads and validates a parameter file.

    Raises:
        ConfigError: no such file, not YAML, or a key that is unknown, missing, mistyped or contradictory.
    """
    return parse_config(read_parameters(path), path)


def read_parameters(path: Path) -> Any:
    """Reads a parameter file as plain data (YAML 1.2, as DVC reads it).

    Raises:
        ConfigError: no such file, or not YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} does not exist; run from the project's root, or write it with `glus params`."
        ) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def parse_config(values: Any, origin: Path) -> Config:
    """Validates plain data as a configuration; `origin` is the file that errors name.

    Raises:
        ConfigError: naming every key that is unknown, missing, mistyped or contradictory.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{origin} holds no parameters (found {type(values).__name__}, expected a mapping).")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{origin}: " + "; ".join(_describe(item) for item in error.errors())) from error


def _describe(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{key} is not a known parameter"
    if item["type"] == "missing":
        return f"{key} is missing"
    message = item["msg"].removeprefix("Value error, ")
    return f"{key} = {item['input']!r}: {message}" if key else message
