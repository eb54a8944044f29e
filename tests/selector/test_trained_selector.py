"""A selector beside Chat-UniVi: its adapter, its score head and the words that grew by `[SCORE]`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from glus import KeyFrameSelector
from glus.cli import app
from glus.config import LoraConfig
from glus.errors import InputError
from glus.model.lora import add_lora, merged_state_dict
from glus.selector.model import SelectorModel
from glus.training.loop.trainable import select_parameters
from glus.weights.folder import TRAINED
from glus.weights.selector_saved import save_trained_selector
from tests.selector.published import write_chatunivi, write_clip

BASE = {"base": "weights/chatunivi", "vision_tower": "weights/clip"}


@pytest.fixture
def trained(selector: KeyFrameSelector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SelectorModel:
    """Saved in `models/selector`, with its adapters in memory."""
    monkeypatch.chdir(tmp_path)
    write_chatunivi(selector, Path(BASE["base"]))
    write_clip(selector, Path(BASE["vision_tower"]))
    model = KeyFrameSelector.from_pretrained(BASE["base"], vision_tower=BASE["vision_tower"])
    add_lora(model.language_model, LoraConfig(rank=2, alpha=4, dropout=0.0, targets=["q_proj", "v_proj"]))
    parameters = select_parameters(model, ["lora", "score_head"])
    generator = torch.Generator().manual_seed(0)
    for parameter in parameters.values():
        parameter.data += torch.randn(parameter.shape, generator=generator) * 0.1
    save_trained_selector(model, parameters, BASE, Path("models/selector"))
    return model.eval()


def test_it_scores_as_it_did_when_it_was_trained(trained: KeyFrameSelector, clip: np.ndarray) -> None:
    loaded = KeyFrameSelector.from_pretrained("models/selector")
    assert loaded.state_dict().keys() == merged_state_dict(trained).keys()
    torch.testing.assert_close(loaded.score(clip, ["it"]), trained.score(clip, ["it"]), rtol=1e-4, atol=1e-5)
    words = {"language_model.model.embed_tokens.weight", "language_model.lm_head.weight"}
    assert load_file("models/selector/" + TRAINED).keys() == words | {
        name for name in trained.state_dict() if name.startswith("score_head.")
    }


def test_merged_it_needs_no_base(trained: KeyFrameSelector, clip: np.ndarray) -> None:
    done = CliRunner().invoke(app, ["weights", "merge", "models/selector", "whole"])
    assert done.exit_code == 0, done.output
    with_base = KeyFrameSelector.from_pretrained("models/selector").score(clip, ["it"])
    shutil.rmtree("weights")
    assert torch.equal(KeyFrameSelector.from_pretrained("whole").score(clip, ["it"]), with_base)
    with pytest.raises(InputError, match=r"its base .*weights/chatunivi \(SHA-256 [0-9a-f]{12}\) is not there"):
        KeyFrameSelector.from_pretrained("models/selector")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config: config.update(adapted=False), "adapted is False, but adapter_model.safetensors is there"),
        (lambda config: config.pop("clusters"), r"config.json: clusters is missing\."),
        (lambda config: config.update(head_size=0), "head_size is 0: "),
        (lambda config: config["base"].pop("vision_tower"), "names no vision_tower"),
    ],
)
def test_what_its_config_cannot_say_is_named(
    trained: KeyFrameSelector, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    file = Path("models/selector/config.json")
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config))
    with pytest.raises(InputError, match=words):
        KeyFrameSelector.from_pretrained("models/selector")
