"""`params.yaml` as frozen, validated sections: one per step, plus `model`, `data`, `tracking` and `compute`.

Loading is strict: an unknown key, a value of the wrong type or a contradiction between two values is an error that
names the key. Values of the method cite the paper's table beside their default or in the presets.
"""

from glus.config.base import DATASETS, ClipKind, TrackerName
from glus.config.data import SyntheticConfig
from glus.config.evaluation import PropagateConfig
from glus.config.loading import PRESETS, load_config, parse_config, read_parameters
from glus.config.model import LanguageConfig, LoraConfig, MemoryConfig, ModelConfig, VisionConfig
from glus.config.root import Config
from glus.config.runtime import ComputeConfig
from glus.config.selection import (
    KeyframesConfig,
    KeyFrameSourceName,
    PseudolabelConfig,
    SelectorConfig,
    SelectorModelConfig,
)
from glus.config.training import (
    ALIGNMENT_PARTS,
    IMAGE_PARTS,
    TRACKING_PARTS,
    ContrastiveConfig,
    GroundingConfig,
    LossConfig,
    OptimiserConfig,
    PhaseConfig,
    SingleQueryPhaseConfig,
    TrainConfig,
)

__all__ = [
    "ALIGNMENT_PARTS",
    "DATASETS",
    "IMAGE_PARTS",
    "PRESETS",
    "TRACKING_PARTS",
    "ClipKind",
    "ComputeConfig",
    "Config",
    "ContrastiveConfig",
    "GroundingConfig",
    "KeyFrameSourceName",
    "KeyframesConfig",
    "LanguageConfig",
    "LoraConfig",
    "LossConfig",
    "MemoryConfig",
    "ModelConfig",
    "OptimiserConfig",
    "PhaseConfig",
    "PropagateConfig",
    "PseudolabelConfig",
    "SelectorConfig",
    "SelectorModelConfig",
    "SingleQueryPhaseConfig",
    "SyntheticConfig",
    "TrackerName",
    "TrainConfig",
    "VisionConfig",
    "load_config",
    "parse_config",
    "read_parameters",
]
