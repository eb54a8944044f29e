"""Each way in which a published checkpoint can be wrong: refused in one paragraph that names it, exit code 2."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published import write_clip, write_glus
from safetensors.torch import load_file, save_file

from glus import GLUS
from glus.cli import main
from glus.errors import InputError
from glus.inference import segment_video
from glus.weights.saved import save_glus


class Harmful:
    def __reduce__(self):
        return os.system, ("false",)


def edit_json(file: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def renamed(old: str, new: str) -> Callable[[dict], object]:
    return lambda content: content.update({new: content.pop(old)})


def without(name: str) -> Callable[[dict], object]:
    return lambda content: content.pop(name)


def edit_tensors(file: Path, change: Callable[[dict], object]) -> None:
    tensors = torch.load(file, weights_only=True) if file.suffix == ".bin" else load_file(file)
    change(tensors)
    (torch.save if file.suffix == ".bin" else save_file)(tensors, file)


def _lm_head(root: Path) -> dict:
    tensors = torch.load(root / "glus/a.bin", weights_only=True)
    return {"lm_head.weight": torch.zeros_like(tensors["lm_head.weight"])}


INDEX = "glus/pytorch_model.bin.index.json"
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a tensor is missing": (
        lambda root: edit_tensors(root / "glus/a.bin", without("lm_head.weight")),
        "does not fit the model: missing mllm.language_model.lm_head.weight.",
    ),
    "a tensor is misshapen": (
        lambda root: edit_tensors(root / "glus/b.bin", lambda tensors: tensors.update({MISSHAPEN: torch.zeros(3, 2)})),
        "has shape [3, 2], expected [",
    ),
    "a tensor of CLIP is missing": (
        lambda root: edit_tensors(root / "clip/model.safetensors", without("vision_model.embeddings.class_embedding")),
        "clip does not fit the model: missing embeddings.class_embedding.",
    ),
    "a shard is missing": (
        lambda root: (root / "glus/b.bin").unlink(),
        "index.json names 2 files, of which 1 are not there: b.bin;",
    ),
    "a shard lies elsewhere": (
        lambda root: edit_json(root / INDEX, lambda index: index["weight_map"].update({"lm_head.weight": "../a.bin"})),
        "names '../a.bin', which leaves its folder",
    ),
    "the index has no map": (
        lambda root: (root / INDEX).write_text("{}"),
        "weight_map is missing",
    ),
    "a tensor stands in another shard than the index names": (
        lambda root: (
            edit_tensors(root / "glus/b.bin", lambda tensors: tensors.update(_lm_head(root))),
            edit_tensors(root / "glus/a.bin", without("lm_head.weight")),
        ),
        "does not fit the model: missing mllm.language_model.lm_head.weight.",
    ),
    "a tensor stands in two shards and not in the index": (
        lambda root: (
            edit_tensors(root / "glus/b.bin", lambda tensors: tensors.update(_lm_head(root))),
            edit_json(root / INDEX, lambda index: index["weight_map"].pop("lm_head.weight")),
        ),
        "a.bin and b.bin both hold lm_head.weight, and the index names neither",
    ),
    "a tensor has two names": (
        lambda root: edit_tensors(
            root / "glus/a.bin", lambda tensors: tensors.update({"mllm.language_model.lm_head.weight": torch.zeros(2)})
        ),
        "both are our mllm.language_model.lm_head.weight",
    ),
    "a key of config.json stands twice": (
        lambda root: (root / "glus/config.json").write_text(
            (root / "glus/config.json").read_text().replace("{", '{"hidden_size": 8, ', 1)
        ),
        "the key 'hidden_size' stands twice",
    ),
    "a tensor of the index stands twice": (
        lambda root: (root / INDEX).write_text((root / INDEX).read_text().replace("{", '{"weight_map": {}, ', 1)),
        "the key 'weight_map' stands twice",
    ),
    "an object is pickled": (
        lambda root: torch.save({"lm_head.weight": Harmful()}, root / "glus/a.bin"),
        f"it holds {os.system.__module__}.system, an object that would have to be unpickled",
    ),
    "a file is cut off": (
        lambda root: (root / "glus/a.bin").write_bytes((root / "glus/a.bin").read_bytes()[:500]),
        "a.bin cannot be read as plain tensors",
    ),
    "no tensors by name": (
        lambda root: torch.save([torch.zeros(1)], root / "glus/a.bin"),
        "a.bin holds one list, expected tensors by name",
    ),
    "config.json is no JSON": (
        lambda root: (root / "glus/config.json").write_text('{"model_type": "llava",'),
        "config.json is not valid JSON",
    ),
    "config.json lacks sizes": (
        lambda root: edit_json(root / "glus/config.json", lambda c: (c.pop("hidden_size"), c.pop("vocab_size"))),
        "config.json lacks vocab_size, hidden_size.",
    ),
    "a size is no number": (
        lambda root: edit_json(root / "glus/config.json", lambda config: config.update(num_hidden_layers="two")),
        "config.json: num_hidden_layers is 'two', expected a positive whole number",
    ),
    "the tokenizer has fewer tokens": (
        lambda root: edit_json(root / "glus/added_tokens.json", without("<im_end>")),
        "tokens, the language model",
    ),
    "the tokenizer has no [SEG]": (
        lambda root: edit_json(root / "glus/added_tokens.json", renamed("[SEG]", "[MASK]")),
        "the tokenizer has no token [SEG]; it was made for another model.",
    ),
    "the tokenizer has no <im_start>": (
        lambda root: edit_json(root / "glus/added_tokens.json", renamed("<im_start>", "<start>")),
        "the tokenizer has no token <im_start>; it was made for another model.",
    ),
    "the tokenizer is another file": (
        lambda root: (root / "glus/tokenizer.model").write_bytes(b"not a model"),
        "tokenizer.model is not a sentencepiece model",
    ),
    "SAM-2's configuration is another file": (
        lambda root: (root / "sam2.yaml").write_text("trunk: 3"),
        "has no section `model`",
    ),
    "CLIP is another model": (
        lambda root: edit_json(root / "clip/config.json", lambda config: config.update(model_type="siglip")),
        "model_type is 'siglip', expected that of CLIP",
    ),
    "CLIP has no image processor": (
        lambda root: (root / "clip/preprocessor_config.json").unlink(),
        "preprocessor_config.json does not exist",
    ),
}  # fmt: skip
MISSHAPEN = "model.mm_projector.weight"


@pytest.fixture
def whole(model, tmp_path, root) -> Path:
    """A folder with a published checkpoint, its CLIP tower and SAM-2's configuration."""
    write_glus(tmp_path / "glus", model)
    write_clip(tmp_path / "clip", model)
    shutil.copy(root / "glus/model/sam2_tiny.yaml", tmp_path / "sam2.yaml")
    return tmp_path


def verify(folder: Path, capsys) -> tuple[int, str]:
    options = ["--vision-tower", str(folder / "clip"), "--sam2-config", str(folder / "sam2.yaml")]
    with pytest.raises(SystemExit) as ended:
        main(["weights", "verify", str(folder / "glus"), *options])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.err


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_paragraph_and_exit_code_2(whole, capsys, fault):
    break_it, words = FAULTS[fault]
    break_it(whole)
    code, error = verify(whole, capsys)
    assert code == 2 and words in error, error
    assert error.startswith("glus: ") and error.count("\n") == 1 and "weights_only" not in error


def test_a_whole_checkpoint_is_in_place(whole, capsys):
    assert verify(whole, capsys) == (0, "")


def test_our_format_names_what_its_config_lacks(model, tmp_path):
    save_glus(model, model.state_dict(), tmp_path)
    edit_json(tmp_path / "config.json", lambda config: config["settings"].pop("seg_layer"))
    with pytest.raises(InputError, match="settings: missing or not known: seg_layer"):
        GLUS.from_pretrained(tmp_path)
    edit_json(tmp_path / "config.json", lambda config: config["settings"].update(seg_layer="last", token_pool="four"))
    with pytest.raises(InputError, match=r"settings: token_pool is 'four': "):
        GLUS.from_pretrained(tmp_path)
    edit_json(tmp_path / "config.json", lambda config: config.update(language=None))
    with pytest.raises(InputError, match=r"config.json: language: expected an object"):
        GLUS.from_pretrained(tmp_path)
    edit_json(tmp_path / "config.json", without("sam2"))
    with pytest.raises(InputError, match=r"config.json lacks sam2"):
        GLUS.from_pretrained(tmp_path)


def test_a_window_that_is_too_short_for_the_prompt_names_both(model, frames):
    model.language_model.config.max_position_embeddings = 20
    with pytest.raises(InputError, match=r"a conversation of \d+ positions does not fit .* window of 20"):
        segment_video(model, frames, ["the red circle"])
