"""The examples of docs/extending.md, run as they stand there."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from local_imports import ROOT
from PIL import Image

from glus.metrics.protocols import PROTOCOLS, mean_over_expressions
from glus.metrics.scoring import ExpressionScore
from glus.staging.checks import examine
from glus.staging.faults import errors
from glus.staging.readers.registry import READERS
from glus.weights.released import is_released
from tests.weights.published import published_tensors, write_clip, write_folder

BLOCK = re.compile(r"```python\n# (glus/\S+\.py)\n(.*?)```", re.DOTALL)
EXAMPLES = dict(BLOCK.findall((ROOT / "docs" / "extending.md").read_text(encoding="utf-8")))


def load_example(name: str, folder: Path) -> Any:
    """The example of a file, as a module of its own."""
    path = folder / f"example_{Path(name).stem}.py"
    path.write_text(EXAMPLES[name], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_plain(root: Path) -> None:
    frames = ["00000", "00001", "00002", "00003"]
    expressions = {"0": {"exp": "the left one", "obj_id": ["7"]}}
    (root / "train").mkdir(parents=True)
    listed = {"videos": {"v": {"frames": frames, "expressions": expressions}}}
    (root / "train/list.json").write_text(json.dumps(listed))
    for number, name in enumerate(frames):
        mask = np.zeros((24, 32), np.uint8)
        mask[4:9, number : number + 5] = 255
        for folder, pixels in (("frames/v", np.full((24, 32, 3), 90, np.uint8)), ("masks/v/7", mask)):
            path = root / "train" / folder / f"{name}.{'jpg' if pixels.ndim == 3 else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def test_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load_example("glus/staging/readers/plain.py", tmp_path)
    monkeypatch.setitem(READERS, "plain", module)
    write_plain(tmp_path / "plain")
    assert module.splits(tmp_path / "plain") == ["train"]
    rows: list[Any] = []
    examined = examine("plain", tmp_path / "plain", "train", keep=lambda _, found: rows.extend(found))
    assert not errors(examined.faults), examined.faults
    assert [(row["annotation_id"], row["frame_index"]) for row in rows] == [("7", index) for index in range(4)]


def test_a_base_model(model, tmp_path: Path) -> None:
    module = load_example("glus/weights/ported.py", tmp_path)
    clip = write_clip(tmp_path / "clip", model)
    tensors = {name.replace(module.PUBLISHED, module.THEIRS): value for name, value in published_tensors(model).items()}
    folder = write_folder(tmp_path / "ported", model, tensors)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "llava_ported"}))
    assert module.is_ported(folder) and not is_released(folder)
    loaded = module.load_ported(folder, vision_tower=clip, sam2_config="glus/model/sam2_tiny.yaml")
    assert torch.equal(loaded.mm_projector.weight, model.mm_projector.weight.bfloat16())


def test_a_source_of_key_frames(tmp_path: Path) -> None:
    source = load_example("glus/keyframes/sources.py", tmp_path).middle_frame
    assert source(None, SimpleNamespace(num_frames=5), ["a", "b"]).argmax(axis=1).tolist() == [2, 2]


def test_a_protocol(tmp_path: Path) -> None:
    protocol = load_example("glus/metrics/protocols.py", tmp_path).FIRST_ANNOTATOR
    scores = [ExpressionScore("v", str(number), None, (number / 8,), (0.5,), None) for number in range(8)]
    assert protocol.name not in PROTOCOLS
    assert protocol.average(scores) == mean_over_expressions([scores[0], scores[4]])


def test_every_example_is_tested() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    assert len(EXAMPLES) == 4
    assert all(f'load_example("{name}"' in tested for name in EXAMPLES)
