"""What a run is called in MLflow, so that two of them are told apart."""

from __future__ import annotations

import os
from typing import Any

from glus.config import PRESETS, Config, load_config
from glus.pipeline.tracking import flatten

WITHOUT_EFFECT = ("tracking.", "compute.")  # sections that change no artifact
MOST_NAMED = 4
LONGEST_VALUE = 40


def run_name(config: Config) -> str:
    """`tracking.variant` where one was chosen, else DVC's name of the experiment, else what differs from the preset.

    The presets' own variants count as none chosen.
    """
    own = {"default", *(path.stem for path in PRESETS.glob("*.yaml"))}
    if config.tracking.variant not in own:
        return config.tracking.variant
    return os.environ.get("DVC_EXP_NAME") or _differences(config)


def _differences(config: Config) -> str:
    """E.g. `tiny: seed=1, propagate.use_memory=False`, from the preset with the fewest differences."""
    found = {path.stem: _changed(config, load_config(path)) for path in PRESETS.glob("*.yaml")}
    preset = min(sorted(found), key=lambda name: len(found[name]))
    changed = found[preset]
    named = [f"{key}={str(value)[:LONGEST_VALUE]}" for key, value in changed.items()]
    more = [f"{len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
    return ": ".join(filter(None, [preset, ", ".join(named[:MOST_NAMED] + more)]))


def _changed(config: Config, preset: Config) -> dict[str, Any]:
    before = flatten(preset.model_dump(mode="json"))
    now = flatten(config.model_dump(mode="json"))
    keys = dict.fromkeys([*now, *before])
    return {key: now.get(key) for key in keys if not key.startswith(WITHOUT_EFFECT) and now.get(key) != before.get(key)}
