"""Phases from parameters: where the [SEG] projector starts."""

import pytest
import torch

from glus.config import Config
from glus.model.assembly import build_text_hidden_fcs
from glus.model.lora import add_lora
from glus.records.split import StagedSplit
from glus.records.tables import write_table
from glus.training.segmentation.contrastive import TokenBank
from glus.training.segmentation.phases import build_phases


@pytest.fixture
def split(tmp_path):
    key = {"dataset": "synthetic", "split": "train", "video_id": "v"}
    folder = tmp_path / "synthetic" / "train"
    names = [f"{index:05d}" for index in range(4)]
    video = {"num_frames": 4, "height_px": 4, "width_px": 4, "frame_names": names, "frame_dir": "v", "grey_frames": []}
    expression = {"expression_id": "0", "expression": "a", "object_ids": ["0"], "annotation_ids": ["0"]}
    short = video | {"video_id": "short", "num_frames": 2, "frame_names": names[:2]}
    write_table("videos", [key | video, key | short], folder / "videos.parquet")
    write_table("expressions", [key | expression | {"family": "greyed"}], folder / "expressions.parquet")
    return StagedSplit(folder, tmp_path)


def clip_phase(model, config: Config, split: StagedSplit, **switches):
    values = config.model_dump(mode="json")
    values["train"]["image"]["families"] = values["train"]["tracking"]["families"] = []
    values["train"]["clip"] |= switches
    add_lora(model.language_model, config.model.lora)
    config = Config.model_validate(values)
    phases = build_phases(model, [(split, 1.0)], TokenBank(1), train=config.train, shape=config.model, seed=config.seed)
    return phases[-1]


def test_the_projector_starts_where_it_is_unless_it_is_drawn_anew(model, config, split):
    assert clip_phase(model, config, split).start() == {}


def test_a_projector_drawn_anew_has_torchs_own_start(model, config, split):
    start = clip_phase(model, config, split, fresh_text_hidden_fcs=True).start()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        fresh = build_text_hidden_fcs(model.language_model.config.hidden_size, model.masks.sam2.hidden_dim)
    assert set(start) <= dict(model.named_parameters()).keys()
    assert all(torch.equal(value, start[f"text_hidden_fcs.{name}"]) for name, value in fresh.state_dict().items())


def test_videos_that_are_too_short_are_reported(model, config, split, caplog):
    caplog.set_level("INFO", logger="glus")
    clip_phase(model, config, split)
    said = [record.message for record in caplog.records if record.message.startswith("clip")]
    assert said == ["clip: videos of fewer than 4 frames are left out (1)"]
