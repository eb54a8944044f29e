"""From real labelled clips to a fine-tuned model and a page that compares it, in a few steps of a tiny random model."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from glus.cli import main
from glus.model.lora import merged_state_dict
from glus.model.scratch import build_from_scratch
from glus.weights.saved import save_glus

CLIPS = ("cups", "coffee", "blocks")


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert not ended.value.code, arguments


@pytest.fixture
def labelled(shared, tmp_path) -> Path:
    """Three clips with a sentence about each object."""
    source = shared / "realclips/Refer-YouTube-VOS"
    listed = json.loads((source / "meta_expressions/train/meta_expressions.json").read_text())["videos"]
    rows = [(clip, said["obj_id"], said["exp"]) for clip in CLIPS for said in listed[clip]["expressions"].values()]
    with (tmp_path / "sentences.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("video", "object", "sentence"), *rows])
    for kind in ("Annotations", "JPEGImages"):
        for clip in CLIPS:
            shutil.copytree(source / "train" / kind / clip, tmp_path / kind / clip)
    return tmp_path


def test_three_real_clips_become_a_fine_tuned_model(
    labelled, config, trained_tokenizer, root, monkeypatch, capsys
) -> None:
    torch.set_num_threads(1)
    model = build_from_scratch(config.model, trained_tokenizer, seed=0).eval()
    save_glus(model, merged_state_dict(model), labelled / "models/glus/final")
    parameters = YAML().load((root / "params.yaml").read_text())
    parameters["compute"]["processes"] = 1
    parameters["train"]["clip"] |= {"samples": 1, "accumulation": 1}
    parameters["tracking"]["enabled"] = False
    parameters["model"]["sam2_config"] = str(root / parameters["model"]["sam2_config"])
    with (labelled / "params.yaml").open("w") as file:
        YAML().dump(parameters, file)
    monkeypatch.chdir(labelled)
    read = ["--from", "png", "--labels", "Annotations", "--videos", "JPEGImages", "--sentences", "sentences.csv"]
    run("own", "init", "data/own", *read, "--held-out", "blocks")
    run("own", "params", "data/own", "--model", "models/glus/final", "--steps", 5)
    base = Path("weights/base/model.safetensors").read_bytes()
    run("stage")
    run("train")
    run("own", "compare", "--before", "weights/base", "--after", "models/glus/final", "-o", "own_report")
    assert Path("weights/base/model.safetensors").read_bytes() == base
    said = capsys.readouterr().out
    blocks = [line for line in (labelled / "sentences.csv").read_text().splitlines() if line.startswith("blocks")]
    assert sum(" -> " in line and "blocks: " in line for line in said.splitlines()) == len(blocks)
    assert (labelled / "own_report/index.html").read_text().count("<img") == len(blocks)
