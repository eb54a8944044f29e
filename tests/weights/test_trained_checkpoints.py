"""A checkpoint beside its base: adapter in peft's files, parts trained in full, and a base known by its hash."""

import gc
import json
import os
import shutil
import sys
from pathlib import Path

import peft
import pytest
import torch
from published import write_clip, write_lisa
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaForCausalLM
from typer.testing import CliRunner

from glus import GLUS
from glus.cli import app
from glus.config import LoraConfig
from glus.errors import GlusError, InputError
from glus.manifest import read_manifest
from glus.model.lora import add_lora, merged_state_dict
from glus.pipeline.context import StepContext
from glus.pipeline.runner import find_step
from glus.pipeline.tracking import Tracker
from glus.steps.train import save_checkpoint
from glus.training.loop.precision import set_weight_types
from glus.training.loop.trainable import select_parameters
from glus.weights.adapters import require_sum
from glus.weights.bases import weights_sha256
from glus.weights.folder import ADAPTER, TRAINED, WEIGHTS
from glus.weights.lisa import build_from_lisa, read_sam2
from glus.weights.saved import LANGUAGE_MODEL, save_glus, save_trained_glus, unmerged_tensors

PARTS = ["lora", "lm_head", "mm_projector", "text_hidden_fcs", "mask_decoder"]
LORA = LoraConfig(rank=3, alpha=6, dropout=0.0, targets=["q_proj", "v_proj"])


@pytest.fixture
def project(model, tmp_path, root, monkeypatch):
    """A project whose `weights/` hold LISA, CLIP and SAM-2, and a model trained from them in `models/glus/final`."""
    monkeypatch.chdir(tmp_path)
    write_lisa(Path("weights/lisa"), model)
    write_clip(Path("weights/clip"), model)
    torch.save({"model": model.masks.sam2.state_dict()}, "weights/sam2.pt")
    fresh = build_from_lisa(
        Path("weights/lisa"),
        vision_tower=Path("weights/clip"),
        sam2_config=str(root / "glus/model/sam2_tiny.yaml"),
        sam2_weights=Path("weights/sam2.pt"),
        settings=model.settings,
    ).model
    add_lora(fresh.language_model, LORA)
    trained = select_parameters(fresh, PARTS)
    generator = torch.Generator().manual_seed(0)
    for parameter in trained.values():
        parameter.data = parameter.data.float() + torch.randn(parameter.shape, generator=generator) * 0.05
    save_trained_glus(fresh, trained, BASE, Path("models/glus/final"))
    fresh.project = tmp_path
    return fresh


BASE = {"base": "weights/lisa", "vision_tower": "weights/clip", "sam2_weights": "weights/sam2.pt"}
FINAL = Path("models/glus/final")


def test_base_and_trained_parts_are_the_model(project):
    """In float32 the sum has no rounding of its own: W + B A is what `merged_state_dict` rounds to bfloat16."""
    wanted = merged_state_dict(project)
    for dtype in (torch.float32, torch.bfloat16):
        found = GLUS.from_pretrained(FINAL, dtype=str(dtype).removeprefix("torch.")).state_dict()
        assert found.keys() == wanted.keys()
        for name, tensor in wanted.items():
            rounded = tensor.to(dtype) if name.startswith("mllm.") else tensor
            tolerance = 4e-3 if "q_proj" in name or "v_proj" in name else 0
            torch.testing.assert_close(
                found[name], rounded.to(found[name].dtype), rtol=tolerance, atol=1e-4 * tolerance
            )


def test_only_what_was_trained_is_written(project):
    written = load_file(FINAL / TRAINED).keys()
    assert written == {name for name in select_parameters(project, PARTS) if "lora_" not in name}
    assert not (FINAL / WEIGHTS).exists()


def test_peft_reads_the_adapter_on_the_same_base(project):
    plain = LlamaForCausalLM(project.language_model.config)
    plain.load_state_dict(
        {
            name.removeprefix(f"{LANGUAGE_MODEL}."): tensor
            for name, tensor in unmerged_tensors(FINAL)
            if name.startswith(f"{LANGUAGE_MODEL}.")
        }
    )
    adapted = peft.PeftModel.from_pretrained(plain, FINAL)
    ids = torch.arange(2, 30).unsqueeze(0)
    ours = GLUS.from_pretrained(FINAL).language_model
    torch.testing.assert_close(adapted(ids).logits, ours(ids).logits, rtol=1e-4, atol=1e-4)
    assert adapted.peft_config["default"].base_model_name_or_path == "weights/lisa"


def test_a_moved_project_and_another_working_folder(project, tmp_path, monkeypatch):
    elsewhere = tmp_path / "other"
    shutil.copytree(tmp_path, elsewhere, ignore=shutil.ignore_patterns("other"))
    shutil.rmtree(tmp_path / "weights")
    monkeypatch.chdir("/")
    GLUS.from_pretrained(elsewhere / FINAL)
    with pytest.raises(InputError, match=r"its base weights/lisa \(SHA-256 [0-9a-f]{12}\) is not there. Put it back"):
        GLUS.from_pretrained(tmp_path / FINAL)
    GLUS.from_pretrained(tmp_path / FINAL, **{part: elsewhere / path for part, path in BASE.items()})


@pytest.mark.parametrize(
    ("file", "words"),
    [(ADAPTER, "adapted is True, but adapter_model.safetensors is not there"), (TRAINED, "cannot be read")],
)
def test_a_lost_file_is_named(project, file, words):
    (FINAL / file).unlink()
    with pytest.raises(InputError, match=words):
        GLUS.from_pretrained(FINAL)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config: config.update(adapted=False), "adapted is False, but adapter_model.safetensors is there"),
        (lambda config: config["base"].pop("vision_tower"), "names no vision_tower"),
    ],
)
def test_what_its_config_does_not_own_up_to_is_named(project, change, words):
    config = json.loads((FINAL / "config.json").read_text())
    change(config)
    (FINAL / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=words):
        GLUS.from_pretrained(FINAL)


def test_whole_numbers_are_no_weights(project):
    tensors = load_file(FINAL / TRAINED)
    save_file({name: tensor.to(torch.int32) for name, tensor in tensors.items()}, FINAL / TRAINED)
    with pytest.raises(InputError, match=r"holds whole numbers, expected floating point: masks"):
        GLUS.from_pretrained(FINAL)


@pytest.mark.parametrize("part", BASE)
def test_another_base_is_refused_by_its_hash(project, part):
    file = {"base": "weights/lisa/a.bin", "vision_tower": "weights/clip/model.safetensors"}.get(part, BASE[part])
    tensors = load_file(file) if file.endswith("safetensors") else torch.load(file, weights_only=True)
    tensors.get("model", tensors).popitem()
    (save_file if file.endswith("safetensors") else torch.save)(tensors, file)
    with pytest.raises(
        InputError, match=rf"trained from another {part} than .*/{BASE[part]}: .* expected [0-9a-f]{{12}}"
    ):
        GLUS.from_pretrained(FINAL)


def test_a_base_is_hashed_once_for_each_state(project, monkeypatch):
    Path(".glus").mkdir()
    for file in (*Path("weights").rglob("*"), *FINAL.iterdir()):
        os.utime(file, (1, 1))
    monkeypatch.setattr("glus.files.TICK_NS", 0)
    GLUS.from_pretrained(FINAL)
    monkeypatch.setattr("glus.files.hash_file", lambda path: pytest.fail(f"{path} is read again"))
    GLUS.from_pretrained(FINAL)


def test_a_checkpoint_is_the_base_of_another(project):
    second = GLUS.from_pretrained(FINAL)
    with torch.no_grad():
        second.mm_projector.bias += 1
    save_trained_glus(second, ["mllm.mm_projector.bias"], {"base": str(FINAL)}, Path("models/glus/second"))
    found = GLUS.from_pretrained("models/glus/second").state_dict()
    for name, tensor in second.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=4e-3, atol=1e-6)
    assert load_file("models/glus/second/" + TRAINED).keys() == {"mllm.mm_projector.bias"}


def test_the_command_writes_a_model_that_needs_no_base(project):
    done = CliRunner().invoke(app, ["weights", "merge", str(FINAL), "whole"])
    assert done.exit_code == 0, done.output
    wanted = {
        name: tensor.clone() for name, tensor in GLUS.from_pretrained(FINAL, dtype="bfloat16").state_dict().items()
    }
    shutil.rmtree("weights")
    whole = GLUS.from_pretrained("whole", dtype="bfloat16").state_dict()
    assert all(torch.equal(whole[name], tensor) for name, tensor in wanted.items())
    again = CliRunner().invoke(app, ["weights", "merge", "whole", "again"])
    assert isinstance(again.exception, InputError) and "name an --adapter" in str(again.exception)


@pytest.mark.parametrize("name", ["model.layers.1.self_attn.v_proj.weight", "model.layers.0.mlp.up_proj.weight"])
def test_a_wrong_sum_is_seen(project, name):
    merged = dict(GLUS.from_pretrained(FINAL).state_dict())
    require_sum(merged, unmerged_tensors(FINAL), FINAL, LANGUAGE_MODEL)
    merged[f"{LANGUAGE_MODEL}.{name}"][3, 3] += 0.1
    with pytest.raises(GlusError, match=f"{name} is not the sum"):
        require_sum(merged, unmerged_tensors(FINAL), FINAL, LANGUAGE_MODEL)


def times_mapped(file: str) -> int:
    """How often a file is mapped into this process's memory."""
    gc.collect()
    return Path("/proc/self/maps").read_text().count(file)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process's memory")


@linux
def test_weights_stay_in_their_file_as_long_as_they_are_used_as_they_are(project):
    """In bfloat16 LISA's shards are the memory; in float32, once each has been turned, none of them is held."""
    before = times_mapped("weights/lisa/a.bin")
    loaded = [GLUS.from_pretrained(FINAL)]
    assert times_mapped("weights/lisa/a.bin") == before
    loaded.append(GLUS.from_pretrained(FINAL, dtype="bfloat16"))
    assert times_mapped("weights/lisa/a.bin") == before + 1


def test_what_is_trained_leaves_the_file_that_it_was_read_from(project):
    sam2 = read_sam2(Path("weights/sam2.pt"))
    decoder = nn.Module()
    decoder.weight = nn.Parameter(sam2["no_mem_embed"])
    set_weight_types(decoder, decoder.parameters(), "bfloat16")
    assert decoder.weight.data_ptr() != sam2["no_mem_embed"].data_ptr()
    assert torch.equal(decoder.weight, sam2["no_mem_embed"])


def test_the_step_saves_beside_the_base_and_says_which(project, config):
    values = {"model": config.model.model_copy(update=BASE)}
    context = StepContext(config.model_copy(update=values), find_step("train"), Path("work"), {}, Tracker())
    save_checkpoint(context, project, select_parameters(project, PARTS), 7, Path("models/glus/step-000007"))
    extra = read_manifest(Path("models/glus/step-000007")).extra
    assert extra == {"checkpoint_step": 7, "weights_sha256": weights_sha256(FINAL)}
    card = Path("models/glus/step-000007/README.md").read_text()
    assert "| base | weights/lisa |" in card and weights_sha256(Path("weights/lisa")) in card
    assert {path.name for path in FINAL.iterdir()} == {
        path.name for path in Path("models/glus/step-000007").iterdir()
    } - {"README.md", "manifest.json"}


def test_what_a_light_checkpoint_holds_is_shown(project):
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["weights", "inspect", str(FINAL)])
    assert shown.exit_code == 0 and "LoRA" in shown.output and "LLaMA" not in shown.output
    assert (FINAL / ADAPTER).is_file() and "sha256" in json.loads((FINAL / "config.json").read_text())["base"]["base"]


def test_a_whole_checkpoint_stays_whole(model, tmp_path):
    save_glus(model, model.state_dict(), tmp_path / "whole")
    assert "base" not in json.loads((tmp_path / "whole/config.json").read_text())
