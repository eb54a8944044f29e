"""`params.yaml` is loaded strictly: every fault is an error that names the key. The presets are complete."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.derive_presets import derived
from glus.commands.params import edited
from glus.config import PRESETS, Config, load_config, parse_config, read_parameters
from glus.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
EVERY_PRESET = sorted(PRESETS.glob("*.yaml"))


def with_value(key: str, value: Any) -> dict[str, Any]:
    """The tiny parameters with one value replaced or added."""
    values = read_parameters(PRESETS / "tiny.yaml")
    *parents, last = key.split(".")
    section = values
    for parent in parents:
        section = section[parent]
    section[last] = value
    return values


def leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {key: value for name in tree for key, value in leaves(tree[name], f"{prefix}.{name}".strip(".")).items()}


@pytest.mark.parametrize("path", EVERY_PRESET, ids=lambda path: path.stem)
def test_every_preset_is_complete(path: Path) -> None:
    assert isinstance(load_config(path), Config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.clip.stepz", 3),
        ("nonsense", 1),
        ("seed", "0"),
        ("seed", True),
        ("model.num_context_frames", -1),
        ("model.num_query_frames", -1),
        ("model.seg_layer", "first"),
        ("train.clip.steps", 2.5),
        ("train.loss.temperature", 0),
        ("pseudolabel.share", 1.5),
        ("train.trainable", ["everything"]),
        ("stage.splits", ["cityscapes/train"]),
        ("stage.splits", ["mevis/../../etc"]),
        ("compute.device", "tpu"),
        ("evaluate.boundary", None),
    ],
)
def test_unknown_and_mistyped_values_name_their_key(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")) as caught:
        parse_config(with_value(key, value), Path("params.yaml"))
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith("params.yaml: ")


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("data.evaluation", ["mevis/valid_u"], "mevis/valid_u is not among stage.splits"),
        ("data.train", [{"split": "revos/train", "weight": 1.0}], "revos/train is not among stage.splits"),
        (
            "stage.splits",
            ["synthetic/train", "synthetic/test", "synthetic/extra"],
            "stage.synthetic.clips has no 'extra'",
        ),
        ("stage.synthetic.grey_frames", [6, 4], "stage.synthetic.grey_frames: 6 to 4"),
        ("stage.synthetic.grey_frames", [4, 12], "num_frames 12"),
        ("train.early_stop_step", 100_000, "train.early_stop_step: 100000"),
        (
            "pseudolabel.checkpoint",
            "models/glus/step-000001",
            "step 600 writes models/glus/step-000600, and the end of",
        ),
        ("train.clip.samples", 100_000, "train.clip.samples: 100000 per step"),
        ("selector.model.neighbours", [5], "clusters and neighbours must have the same length"),
        ("model.lora.rank", 0, "model.lora.rank is 0"),
        ("train.checkpoint_every", 7, "train.checkpoint_every: 7"),
        ("evaluate.failures.found", 0.6, "found 0.6 is above fits 0.5"),
        ("propagate.comparisons.window_strides", [1, 2], "window_strides: 1 is propagate.window_stride itself"),
        ("propagate.comparisons.strided", [], "strided and window_strides go together"),
        ("propagate.comparisons.strided", ["striped"], "strided: no family is called striped"),
        ("model.num_query_frames", 2, "window_strides: 4, but a window has model.num_query_frames 2"),
    ],
)
def test_contradictions_name_both_sides(key: str, value: Any, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(with_value(key, value), Path("params.yaml"))
    assert named in str(caught.value)


def test_a_key_that_stands_twice_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("seed: 1\nseed: 2\n")
    with pytest.raises(ConfigError, match='duplicate key "seed"'):
        load_config(path)


def test_a_missing_value_is_named() -> None:
    values = read_parameters(PRESETS / "tiny.yaml")
    del values["train"]["loss"]["bce"]
    with pytest.raises(ConfigError, match=r"train\.loss\.bce is missing"):
        parse_config(values, Path("params.yaml"))


def test_a_renamed_parameter_is_told_by_its_new_name() -> None:
    with pytest.raises(ConfigError, match=r"train\.image\.recall is now called train\.image\.word_prediction"):
        parse_config(with_value("train.image.recall", 0.5), Path("params.yaml"))


@pytest.mark.parametrize("text", ["seed: [", "- 1\n- 2\n", "", "seed: 0\nseed: 1\n", "\x00"])
def test_what_is_no_mapping_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"params\.yaml"):
        load_config(path)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=3))
def test_no_value_of_a_section_escapes_the_check(value: Any) -> None:
    with pytest.raises(ConfigError, match="train"):
        parse_config(with_value("train", value), Path("params.yaml"))


@pytest.mark.parametrize("name", ["tiny", "claims", "realclips", "smoke"])
def test_presets_follow_the_committed_default(name: str, tmp_path: Path) -> None:
    committed = subprocess.run(["git", "show", ":params.yaml"], cwd=ROOT, capture_output=True, text=True)
    if committed.returncode != 0:
        pytest.skip("not a git checkout, so what is committed is not known")
    default = tmp_path / "params.yaml"
    default.write_text(committed.stdout, encoding="utf-8")
    expected = derived(name, default)
    assert (PRESETS / f"{name}.yaml").read_text(encoding="utf-8") == expected, (
        "run python -m experiments.derive_presets"
    )


def test_real_clips_retrain_nothing() -> None:
    tiny, realclips = (leaves(read_parameters(PRESETS / f"{name}.yaml")) for name in ("tiny", "realclips"))
    roots = {"stage.roots.mevis", "stage.roots.refer_youtube_vos"}
    changed = {key for key in tiny.keys() | realclips.keys() if tiny.get(key) != realclips.get(key)}
    assert changed == {"stage.splits", "data.evaluation", *roots}


@pytest.mark.parametrize(("name", "steps"), [("glus_s", 3000), ("glus_a", 5000)])
def test_presets_of_the_paper_hold_tables_a_and_b(name: str, steps: int) -> None:
    config = load_config(PRESETS / f"{name}.yaml")
    model, clip, loss, selector = config.model, config.train.clip, config.train.loss, config.selector
    assert (model.num_context_frames, model.num_query_frames, model.vision.image_size, model.token_pool) == (
        4,
        4,
        224,
        4,
    )
    for optimiser in (clip.optimiser, selector.optimiser):
        assert (optimiser.learning_rate, optimiser.betas, optimiser.weight_decay) == (3e-4, [0.9, 0.95], 0.0)
        assert optimiser.warmup_steps == 100
    assert model.lora.rank == selector.model.lora.rank == 8
    assert (loss.ce, loss.dice, loss.bce, config.train.contrastive.weight) == (1.0, 0.5, 2.0, 0.1)
    assert clip.samples * clip.accumulation == selector.samples * selector.accumulation == 80
    assert (clip.steps, config.train.early_stop_step) == (steps, 500)
    assert (selector.num_context_frames, selector.num_query_frames, selector.score_weight) == ([8, 8], 1, 1.0)
    assert selector.trainable == ["lora", "score_head"]


@pytest.mark.parametrize("path", EVERY_PRESET, ids=lambda path: path.stem)
def test_editing_nothing_keeps_every_byte(path: Path) -> None:
    assert edited(path, []) == path.read_text(encoding="utf-8")


def test_editing_keeps_comments_and_changes_one_line() -> None:
    path = PRESETS / "tiny.yaml"
    before, after = path.read_text().splitlines(), edited(path, ["pseudolabel.share=0.25"]).splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [(old.split("#")[1], new.split()[1], new.split("#")[1]) for old, new in changed] == [
        (" B.4: half of the training set", "0.25", " B.4: half of the training set")
    ]
