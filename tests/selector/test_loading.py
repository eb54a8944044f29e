"""Published folders in: a merged selector, or Chat-UniVi that gets its head; what does not fit is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from glus import KeyFrameSelector
from glus.errors import InputError
from glus.processing.sentences import SCORE
from tests.selector.published import FORMS, published_tensors, write_chatunivi, write_clip, write_selector


@pytest.fixture
def clip_folder(selector: KeyFrameSelector, tmp_path: Path) -> Path:
    write_clip(selector, tmp_path / "clip")
    return tmp_path / "clip"


@pytest.mark.parametrize("form", FORMS)
def test_a_published_selector_scores_as_its_source(
    selector: KeyFrameSelector, clip: np.ndarray, tmp_path: Path, clip_folder: Path, form: str
) -> None:
    write_selector(selector, tmp_path / "published", form)
    loaded = KeyFrameSelector.from_pretrained(tmp_path / "published", vision_tower=clip_folder)
    assert loaded.token_merging.clusters == selector.token_merging.clusters
    torch.testing.assert_close(loaded.score(clip, ["it"]), selector.score(clip, ["it"]), atol=0, rtol=0)


@pytest.mark.parametrize("form", FORMS[:2])
def test_chatunivi_gets_a_score_token_and_a_fresh_head(
    selector: KeyFrameSelector, clip: np.ndarray, tmp_path: Path, clip_folder: Path, form: str
) -> None:
    write_chatunivi(selector, tmp_path / "chatunivi", form)
    model = KeyFrameSelector.from_pretrained(tmp_path / "chatunivi", vision_tower=clip_folder)
    assert model.tokenizer.token_id(SCORE) == selector.tokenizer.token_id(SCORE) == len(model.tokenizer) - 1
    kept = {name for name in model.state_dict() if not name.startswith(("score_head", "language_model.lm_head"))}
    kept.remove("language_model.model.embed_tokens.weight")
    for name in kept:
        assert torch.equal(model.state_dict()[name], selector.state_dict()[name]), name
    rows = model.language_model.lm_head.weight
    assert torch.equal(rows[:-1], selector.language_model.lm_head.weight[:-1])
    torch.testing.assert_close(rows[-1], rows[:-1].mean(dim=0))
    again = KeyFrameSelector.from_pretrained(tmp_path / "chatunivi", vision_tower=clip_folder)
    assert torch.equal(again.score(clip, ["it"]), model.score(clip, ["it"]))


def edited(change: Callable[[dict[str, Tensor]], Any]) -> Callable[[KeyFrameSelector, Path], None]:
    """A published selector whose tensors were changed."""

    def write(selector: KeyFrameSelector, folder: Path) -> None:
        write_selector(selector, folder)
        tensors = published_tensors(selector)
        change(tensors)
        torch.save(tensors, folder / "pytorch_model.bin")

    return write


def configured(**values: Any) -> Callable[[KeyFrameSelector, Path], None]:
    """A published selector whose configuration says something else."""

    def write(selector: KeyFrameSelector, folder: Path) -> None:
        write_selector(selector, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **values}))

    return write


def with_other_tokenizer(write: Callable[[KeyFrameSelector, Path], None], added: dict[str, int] | None) -> Any:
    """A checkpoint beside the tokenizer of another model."""

    def write_both(selector: KeyFrameSelector, folder: Path) -> None:
        write(selector, folder)
        (folder / "added_tokens.json").write_text(json.dumps(added))

    return write_both


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (edited(lambda t: t.pop("model.norm.weight")), r"missing language_model\.model\.norm\.weight"),
        (edited(lambda t: t.update(surplus=torch.zeros(1))), r"unexpected language_model\.surplus"),
        (
            edited(lambda t: t.update({"model.mm_projector.bias": torch.zeros(7)})),
            r"mm_projector\.bias has shape \[7\], expected \[32\]",
        ),
        (
            edited(lambda t: t.update({"model.text_hidden_fcs.0.2.weight": torch.zeros(5, 32)})),
            r"score_head\.2\.weight has shape \[5, 32\], expected \[16, 32\]",
        ),
        (edited(lambda t: t.pop("model.text_hidden_fcs.0.4.bias")), r"missing score_head\.4\.bias"),
        (with_other_tokenizer(write_selector, {}), r"has a score head, but its tokenizer has no \[SCORE\]"),
        (with_other_tokenizer(write_selector, {"[OTHER]": 360, SCORE: 361}), "another vocabulary"),
        (with_other_tokenizer(write_chatunivi, {"[OTHER]": 360}), r"has 361 tokens, its language model \d+ embeddings"),
        (configured(mm_vision_select_layer=-1), "mm_vision_select_layer is -1, only -2 is supported"),
        (configured(config={"spatial_cluster_rate1": 0.5}), "spatial_cluster_rate1 is 0.5, a whole number"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    selector: KeyFrameSelector,
    tmp_path: Path,
    clip_folder: Path,
    write: Callable[[KeyFrameSelector, Path], None],
    message: str,
) -> None:
    write(selector, tmp_path / "published")
    with pytest.raises(InputError, match=message) as error:
        KeyFrameSelector.from_pretrained(tmp_path / "published", vision_tower=clip_folder)
    assert str(tmp_path / "published") in str(error.value)


class Trap:
    """Leaves a file behind wherever it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.file,)


def test_a_pickled_object_is_refused(selector: KeyFrameSelector, tmp_path: Path, clip_folder: Path) -> None:
    write_selector(selector, tmp_path / "published")
    torch.save({"model.norm.weight": Trap(tmp_path / "executed")}, tmp_path / "published/pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin cannot be read as plain tensors"):
        KeyFrameSelector.from_pretrained(tmp_path / "published", vision_tower=clip_folder)
    assert not (tmp_path / "executed").exists()


def test_the_vision_tower_is_asked_for(selector: KeyFrameSelector, tmp_path: Path, clip_folder: Path) -> None:
    write_selector(selector, tmp_path / "published")
    with pytest.raises(InputError, match="name its vision_tower, a CLIP folder"):
        KeyFrameSelector.from_pretrained(tmp_path / "published")
    with pytest.raises(InputError, match=r"nowhere is not a folder"):
        KeyFrameSelector.from_pretrained(tmp_path / "published", vision_tower=tmp_path / "nowhere")
    (clip_folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"preprocessor_config\.json does not exist"):
        KeyFrameSelector.from_pretrained(tmp_path / "published", vision_tower=clip_folder)


def test_a_tower_with_missing_tensors_is_refused(selector: KeyFrameSelector, tmp_path: Path, clip_folder: Path) -> None:
    """Its library would draw them at random."""
    write_selector(selector, tmp_path / "published")
    tensors = dict(selector.vision_tower.state_dict())
    lost = next(name for name in tensors if name.endswith("layers.0.self_attn.k_proj.weight"))
    del tensors[lost]
    (clip_folder / "model.safetensors").unlink()
    torch.save(tensors, clip_folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"missing \S*layers\.0\.self_attn\.k_proj\.weight"):
        KeyFrameSelector.from_pretrained(tmp_path / "published", vision_tower=clip_folder)
    (clip_folder / "pytorch_model.bin").unlink()
    with pytest.raises(InputError, match="clip holds no weights"):
        KeyFrameSelector.from_pretrained(tmp_path / "published", vision_tower=clip_folder)


def test_half_precision_scores_are_close(
    selector: KeyFrameSelector, clip: np.ndarray, tmp_path: Path, clip_folder: Path
) -> None:
    """Ranges of eight bits of mantissa; the score head stays float32."""
    write_selector(selector, tmp_path / "published")
    half = KeyFrameSelector.from_pretrained(tmp_path / "published", vision_tower=clip_folder, dtype="bfloat16")
    assert half.language_model.dtype == half.vision_tower.dtype == torch.bfloat16
    assert half.score_head[0].weight.dtype == torch.float32
    found, expected = half.score(clip, ["it", "the circle"]), selector.score(clip, ["it", "the circle"])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0)
