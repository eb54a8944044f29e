"""The seven real steps at a very small size on generated and real clips; SIGKILL in the middle changes no artifact."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from toy_pieces import Machines

from glus.commands.params import edited
from glus.config import load_config
from glus.execution.shards import ray_engine
from glus.manifest import read_manifest
from glus.pipeline.runner import run_step
from glus.pipeline.table import STEPS
from glus.records.tables import read_table
from glus.reporting.figures import draw_training_curves

REAL_CLIPS = """\
stage.splits=[synthetic/train, synthetic/test, mevis/valid_u, refer_youtube_vos/train]
data.evaluation=[synthetic/test, mevis/valid_u, refer_youtube_vos/train]
tracking.enabled=false
compute.workers=0"""
SECRETS = ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "PREFECT_API_AUTH_STRING")
MARK = "mark-of-a-secret"


def command(project: Path, root: Path, *arguments: str) -> tuple[list[str], dict[str, Any]]:
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return [sys.executable, "-m", "glus", *arguments], {"cwd": project, "env": environment}


def run_here(project: Path, step: str) -> None:
    """Runs a step in this process, which has imported everything already."""
    with chdir(project):
        run_step(step, load_config())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, root: Path, shared: Path) -> Path:
    """A project in which all seven steps ran."""
    if not (shared / "realclips").is_dir():
        pytest.skip(f"no real clips in {shared}")
    project = tmp_path_factory.mktemp("project")
    (project / "glus").symlink_to(root / "glus")
    roots = {"mevis": shared / "realclips/mevis", "refer_youtube_vos": shared / "realclips/Refer-YouTube-VOS"}
    values = [*REAL_CLIPS.splitlines(), "stage.roots={" + ", ".join(f"{k}: {v}" for k, v in roots.items()) + "}"]
    (project / "params.yaml").write_text(edited(root / "glus/presets/smoke.yaml", values))
    with pytest.MonkeyPatch.context() as patch:
        for name in SECRETS:
            patch.setenv(name, MARK)
        for step in STEPS:
            run_here(project, step.name)
    return project


def test_every_step_leaves_its_artifacts(finished: Path) -> None:
    scores = json.loads((finished / "metrics/evaluate.json").read_text())
    assert set(scores) == {"synthetic", "mevis", "refer_youtube_vos"}
    assert set(scores["synthetic"]["test"]["comparisons"]) == {
        "greyed_memory_on", "greyed_memory_off", "starts_grey_first_frame", "starts_grey_key_frame",
    }  # fmt: skip
    for folder in ("models/glus/final", "data/pseudolabels", "models/selector", "data/keyframes", "predictions"):
        assert read_manifest(finished / folder).files
    assert (finished / "reports/index.html").is_file()
    curves = draw_training_curves(finished / "metrics/train_curves.csv")
    assert all(f">{loss}</text>" in curves for loss in ("loss", "ce", "bce", "dice", "contrastive"))


def test_no_secret_of_the_environment_is_in_the_report_or_a_record(finished: Path) -> None:
    files = [file for file in finished.rglob("*") if file.is_file()]
    assert {finished / "reports/index.html", finished / "runs/passport.json"} <= set(files)
    assert not [file for file in files if MARK.encode() in file.read_bytes()]


def test_labels_cover_half_of_the_videos_and_every_frame(finished: Path) -> None:
    labels = read_table("pseudolabels", finished / "data/pseudolabels").to_pandas()
    videos = read_table("videos", finished / "data/staged/synthetic/train/videos.parquet").to_pandas()
    assert 0.2 <= labels.video_id.nunique() / len(videos) <= 0.8
    assert labels.iou.between(0, 1).all()
    assert not labels.duplicated(["video_id", "expression_id", "frame_index"]).any()
    assert (labels.groupby(["video_id", "expression_id"]).size() == 12).all()


def test_real_clips_are_predicted_completely(finished: Path) -> None:
    for name in ("mevis/valid_u", "refer_youtube_vos/train"):
        expressions = read_table("expressions", finished / f"data/staged/{name}/expressions.parquet").num_rows
        predicted = read_table("predictions", finished / f"predictions/{name}/predictions.parquet").to_pandas()
        assert predicted.groupby(["video_id", "expression_id"]).ngroups == expressions > 0


def test_one_key_frame_for_each_expression(finished: Path) -> None:
    frames = read_table("keyframes", finished / "data/keyframes/mevis/valid_u.parquet").to_pandas()
    assert (frames.groupby(["video_id", "expression_id"]).is_key_frame.sum() == 1).all()


def test_segment_writes_masks_and_a_video(finished: Path, root: Path, shared: Path, tmp_path: Path) -> None:
    clip = shared / "realclips/mevis/valid_u/JPEGImages/dog"
    out = tmp_path / "out"
    question = ["-e", "the brown dog", "-e", "a dog", "--key-frame", "5", "--format", "png"]
    arguments = [*question, "--model", "models/glus/final", "-o", str(out)]
    line, options = command(finished, root, "segment", str(clip), *arguments)
    done = subprocess.run(line, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    result = json.loads((out / "result.json").read_text())
    masks = sorted(out.rglob("*.png"))
    assert len(masks) == 2 * len(list(clip.iterdir())) and result
    assert set(np.unique(np.asarray(Image.open(masks[0])))) <= {0, 255}
    with av.open(str(next(out.glob("*.mp4")))) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(list(clip.iterdir()))


@pytest.mark.parametrize(("step", "shards"), [("pseudolabel", 2), ("evaluate", 3)])
def test_shards_on_other_machines_end_with_the_same_artifacts(
    finished: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, shards: int
) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    parameters = edited(project / "params.yaml", ["compute.engine=ray", f"compute.shards={shards}"])
    (project / "params.yaml").write_text(parameters)
    machines = Machines()
    monkeypatch.setattr(ray_engine, "open_cluster", machines)  # processes of this machine stand for others
    before = content(finished)
    run_here(project, step)
    assert content(project) == before
    assert len(machines.processes) >= shards


def content(project: Path) -> dict[str, str]:
    folders = ("models/glus/step-000006", "models/glus/final", "data/pseudolabels", "predictions")
    return {folder: read_manifest(project / folder).content_sha256 for folder in folders} | {
        "curves": (project / "metrics/train_curves.csv").read_text(),
        "metrics": (project / "metrics/train.json").read_text(),
        "scores": (project / "metrics/evaluate.json").read_text(),
        "reports": read_manifest(project / "reports").content_sha256,
    }


@pytest.mark.parametrize(
    ("step", "piece"),
    [
        ("train", "checkpoints/step-*/facts.json"),
        ("pseudolabel", "pieces/synthetic/train/0*.parquet"),
        ("propagate", "pieces/synthetic/test/0*.parquet"),
    ],
)
def test_sigkill_and_again_ends_with_the_same_artifacts(
    finished: Path, root: Path, tmp_path: Path, step: str, piece: str
) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    before = content(project)
    line, options = command(project, root, step, "--fresh")
    path = os.pathsep.join([str(Path(__file__).parents[1] / "killing_site"), str(root)])
    options["env"] |= {"PYTHONPATH": path, "KILL_AFTER": f"1 .glus/work/{step}/*/{piece}"}
    assert subprocess.run(line, stderr=subprocess.DEVNULL, **options).returncode == -signal.SIGKILL
    assert any((project / ".glus/work").glob(f"{step}/*/{piece}"))
    run_here(project, step)
    assert content(project) == before
