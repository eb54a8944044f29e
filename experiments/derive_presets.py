"""Writes tiny, claims, realclips and smoke anew from `params.yaml`, of which they are copies but for a few values.

Run after a change of the default: `.venv/bin/python -m experiments.derive_presets`. A test compares.
"""

from pathlib import Path

from glus.commands.params import edited
from glus.config import PRESETS

DEFAULT = Path(__file__).resolve().parents[1] / "params.yaml"

TITLES = {
    "claims": """\
# The tiny model where each claim of Table 4 has a family of its own, which it trains on (docs/ablations.md).
""",
    "realclips": """\
# The tiny model on real footage: equal to tiny but for what is staged and evaluated, so nothing is trained again.
# The clips lie beside the project in ../shared/realclips; name your own folders under stage.roots.
""",
    "smoke": "# All seven steps in a minute or two, to see that they run: the scores mean nothing.\n",
}

OVERRIDES = {
    "claims": """\
stage.synthetic.clips.train={plain: 240, greyed: 120, starts_grey: 100, \
glimpsed: 80, opposed: 500, reappearing: 80, one_colour: 80, pairs: 160, position: 360}
stage.synthetic.clips.valid_u={plain: 32, greyed: 8, starts_grey: 8, \
glimpsed: 16, opposed: 16, reappearing: 16, one_colour: 16, pairs: 16, position: 16}
stage.synthetic.clips.test={plain: 48, greyed: 16, starts_grey: 24, \
glimpsed: 32, opposed: 32, reappearing: 32, one_colour: 32, pairs: 32, position: 32}
stage.synthetic.other_sentences={train: 2, valid_u: 2, test: 1}
train.alignment.steps=1400
train.alignment.families=[opposed]
train.image.steps=1400
train.image.num_context_frames=4
train.image.word_prediction=1.0
train.image.families=[appearance, greyed, starts_grey, pairs, position, opposed]
train.tracking.families=[appearance, greyed, reappearing]
train.clip.steps=900
train.clip.families=[greyed, starts_grey, glimpsed, opposed, reappearing, one_colour, pairs, position]
train.grounding.families=[opposed, position]
train.early_stop_step=3140
pseudolabel.checkpoint=models/glus/step-003140
tracking.variant=claims""",
    "realclips": """\
stage.splits=[synthetic/train, synthetic/valid_u, synthetic/test, mevis/valid_u, refer_youtube_vos/train]
stage.roots={mevis: ../shared/realclips/mevis, refer_youtube_vos: ../shared/realclips/Refer-YouTube-VOS}
data.evaluation=[mevis/valid_u, refer_youtube_vos/train]""",
    "smoke": """\
stage.synthetic.clips.train={plain: 12, greyed: 8, starts_grey: 4}
stage.synthetic.clips.valid_u={plain: 2}
stage.synthetic.clips.test={plain: 2, greyed: 2, starts_grey: 2}
model.language.num_layers=1
model.vision.num_layers=2
train.image.steps=3
train.image.samples=4
train.image.optimiser.warmup_steps=2
train.tracking.steps=2
train.tracking.samples=2
train.tracking.optimiser.warmup_steps=1
train.clip.steps=7
train.clip.samples=2
train.clip.optimiser.warmup_steps=1
train.early_stop_step=6
train.kept_steps=[8]
propagate.comparisons.training_steps=[appearance]
train.checkpoint_every=4
train.log_every=2
pseudolabel.checkpoint=models/glus/step-000006
pseudolabel.shard_videos=4
selector.steps=4
selector.samples=2
selector.optimiser.warmup_steps=1
selector.held_out=0.25
selector.checkpoint_every=2
selector.log_every=1
evaluate.num_examples=2
tracking.variant=smoke""",
}


def derived(name: str, default: Path) -> str:
    """The text of a preset that is made from the default parameters."""
    if name == "tiny":
        return default.read_text(encoding="utf-8")
    text = edited(default, OVERRIDES[name].splitlines())
    return TITLES[name] + text[text.index("seed:") :]


if __name__ == "__main__":
    for preset in ("tiny", *OVERRIDES):
        (PRESETS / f"{preset}.yaml").write_text(derived(preset, DEFAULT), encoding="utf-8")
