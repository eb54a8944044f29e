"""Where artifacts lie below the project's folder, said once; `glus.pipeline.table` says which step writes which."""

from pathlib import Path

RAW = Path("data/raw")
GENERATED = RAW / "synthetic"
STAGED = Path("data/staged")
TRAINING_SPLITS = STAGED / "train.json"
EVALUATION_SPLITS = STAGED / "evaluation.json"
PSEUDOLABELS = Path("data/pseudolabels")
KEY_FRAMES = Path("data/keyframes")
MODELS = Path("models/glus")
FINAL_MODEL = MODELS / "final"
SELECTOR = Path("models/selector")
PREDICTIONS = Path("predictions")
METRICS = Path("metrics")
TRAINING_METRICS = METRICS / "train.json"
TRAINING_CURVES = METRICS / "train_curves.csv"
SELECTOR_METRICS = METRICS / "selector.json"
SELECTOR_CURVES = METRICS / "selector_curves.csv"
SELECTOR_PICTURE = METRICS / "selector.png"
EVALUATION_METRICS = METRICS / "evaluate.json"
FAMILY_METRICS = METRICS / "evaluate_families.csv"
TRAINING_STEP_METRICS = METRICS / "evaluate_training_steps.csv"
REPORTS = Path("reports")
RUNS = Path("runs")  # records of the runs themselves; no artifacts


def checkpoint(step: int, models: Path = MODELS) -> Path:
    """The model as it was after a step of training."""
    return models / f"step-{step:06d}"


def key_frame_table(split: str, folder: Path = KEY_FRAMES) -> Path:
    """Scores and key frames of a split, e.g. of `synthetic/test`."""
    return folder / f"{split}.parquet"
