"""Around a step: its lock, its scratch folder, its inputs' check, its record, and what is left when it fails."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from local_imports import ROOT
from safetensors import SafetensorError
from stub import stub

from glus.commands.params import edited
from glus.config import Config, load_config
from glus.errors import ArtifactError, BusyError, GlusError
from glus.files import DISK_FULL, REFUSALS, write_json, write_refusal
from glus.manifest import read_manifest, write_manifest
from glus.pipeline.artifacts import input_hashes, needed_inputs, open_split, resolve, split_parameters
from glus.pipeline.lock import step_lock
from glus.pipeline.runner import WORK, find_step, plan_step, run_beside, run_step
from glus.publishing import publish
from glus.records.tables import write_table


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """An empty project, and its configuration with some values replaced."""
    monkeypatch.chdir(tmp_path)

    def load(*overrides: str) -> Config:
        text = edited(ROOT / "glus" / "presets" / "tiny.yaml", ["tracking.enabled=false", *overrides])
        Path("params.yaml").write_text(text)
        return load_config()

    return load


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Chooses what the step `stage` does."""
    return lambda action: monkeypatch.setitem(sys.modules, "glus.steps.stage", stub(action))


def test_a_step_publishes_and_leaves_a_record_and_no_scratch(configure: Callable, act: Callable) -> None:
    act("finish")
    config = configure()
    run_step("stage", config)
    manifest = read_manifest(Path("data/staged"))
    assert manifest.parameters == config.parameters(["stage"])
    assert manifest.files.keys() == {"table"}
    assert list((WORK / "stage").iterdir()) == []
    record = json.loads(Path("runs/stage.json").read_text())
    assert (record["step"], record["outcome"], record["mlflow"]) == ("stage", "done", None)
    assert record["packages"]["torch"] == torch.__version__.split("+")[0]
    assert 10 < record["peak_memory_mib"] < 100_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", record["started"])


def test_equal_work_has_an_equal_manifest(configure: Callable, act: Callable) -> None:
    act("finish")
    run_step("stage", configure())
    first = Path("data/staged/manifest.json").read_bytes()
    run_step("stage", configure(), fresh=True)
    assert Path("data/staged/manifest.json").read_bytes() == first


def test_a_second_start_names_the_process_at_work(configure: Callable, act: Callable) -> None:
    act("finish")
    config = configure()
    with step_lock("stage"), pytest.raises(BusyError, match=rf"stage is at work.*process {os.getpid()}, since 2"):
        run_step("stage", config)
    assert not Path("data/staged").exists()
    run_step("stage", config)


def interrupted_run(config: Config, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Starts `stage`, has it killed after its first piece, and names that piece."""

    def killed(context: object) -> None:
        (context.work / "piece-0").write_text("done before")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    module = stub("finish")
    module.run = killed  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "glus.steps.stage", module)
    with pytest.raises(KeyboardInterrupt):
        run_step("stage", config)
    assert json.loads(Path("runs/stage.json").read_text())["outcome"] == "interrupted"
    return plan_step("stage", config).work / "piece-0"


def test_an_interrupted_run_is_gone_on_from(configure: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure()
    piece = interrupted_run(config, monkeypatch)
    assert piece.read_text() == "done before"
    assert plan_step("stage", config).resumes


def test_fresh_forgets_it(configure: Callable, monkeypatch: pytest.MonkeyPatch, act: Callable) -> None:
    config = configure()
    piece = interrupted_run(config, monkeypatch)
    seen = []
    module = stub("finish")
    finish = module.run
    module.run = lambda context: (seen.append(piece.exists()), finish(context))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "glus.steps.stage", module)
    run_step("stage", config, fresh=True)
    assert seen == [False]


def test_pieces_made_under_other_parameters_are_removed(
    configure: Callable, monkeypatch: pytest.MonkeyPatch, act: Callable
) -> None:
    piece = interrupted_run(configure(), monkeypatch)
    act("finish")
    other = configure("stage.synthetic.seed=7")
    assert not plan_step("stage", other).resumes
    run_step("stage", other)
    assert not piece.parent.exists()


def test_what_changes_no_artifact_changes_no_fingerprint(configure: Callable) -> None:
    first = plan_step("stage", configure()).fingerprint
    assert (
        plan_step("stage", configure("compute.threads=2", "tracking.variant=x", "train.clip.steps=9000")).fingerprint
        == first
    )
    assert plan_step("stage", configure("stage.synthetic.noise=1.5")).fingerprint != first


def test_a_full_disk_is_one_sentence_and_publishes_nothing(configure: Callable, act: Callable) -> None:
    act("fill_the_disk")
    config = configure()
    with pytest.raises(GlusError, match="stage: the disk is full") as caught:
        run_step("stage", config)
    assert caught.value.exit_code == 1
    assert not Path("data/staged").exists()
    assert plan_step("stage", config).resumes
    assert json.loads(Path("runs/stage.json").read_text())["outcome"] == "failed"


def test_too_little_memory_is_one_paragraph_with_what_helps(configure: Callable, act: Callable) -> None:
    act("exhaust_memory")
    config = configure()
    with pytest.raises(GlusError, match=r"stage: memory ran out \(.*can't allocate memory.*compute\.workers") as caught:
        run_step("stage", config)
    assert caught.value.exit_code == 1
    assert plan_step("stage", config).resumes
    assert not Path("data/staged").exists()


@pytest.mark.parametrize("place", ["glus.pipeline.runner.step_lock", "glus.pipeline.runner._prepare_work"])
def test_a_full_disk_before_the_step_begins_is_the_same_sentence(
    configure: Callable, act: Callable, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    act("finish")
    monkeypatch.setattr(place, lambda *arguments: Path("/dev/full").write_text("x"))
    with pytest.raises(GlusError, match="stage: the disk is full"):
        run_step("stage", configure())


@pytest.mark.parametrize("window", range(3))
def test_a_kill_between_two_publications_changes_nothing(
    configure: Callable, act: Callable, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    """The run is killed after so many publications; the artifacts are even deleted, as `dvc repro` does."""
    config = configure()
    act("finish")
    run_step("stage", config, fresh=True)
    expected = {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}
    calls = iter(range(3))

    def killed(source: Path, target: Path) -> None:
        if next(calls) == window:
            raise KeyboardInterrupt
        publish(source, target)

    with monkeypatch.context() as patched:
        patched.setattr("glus.pipeline.context.publish", killed)
        patched.setattr("glus.pipeline.runner._check_outputs", lambda *_: killed(Path(), Path()))
        with pytest.raises(KeyboardInterrupt):
            run_step("stage", config)
    shutil.rmtree("data")
    run_step("stage", config)
    assert {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()} == expected


@pytest.mark.parametrize(
    "write",
    [lambda: Path("/dev/full").write_text("x"), lambda: torch.save(torch.zeros(10_000), "/dev/full")],
    ids=["file", "torch"],
)
def test_a_full_disk_is_known_by_every_name(write: Callable[[], object]) -> None:
    with pytest.raises((OSError, RuntimeError)) as caught:
        write()
    assert write_refusal(caught.value) is DISK_FULL


@pytest.mark.parametrize("number", [*REFUSALS, errno.EACCES])
def test_a_disk_that_takes_no_more_is_known_by_number_and_by_words(number: int) -> None:
    said = SafetensorError(f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})")
    later = RuntimeError("the step failed")
    later.__context__ = said
    assert {write_refusal(error) for error in (OSError(number, "?"), said, later)} == {REFUSALS.get(number)}


@pytest.mark.parametrize("write", ["open('x', 'w').write('x' * 100_000)", "torch.save(torch.zeros(100_000), 'x')"])
def test_a_limit_of_file_size_is_told_from_a_full_disk(write: str, tmp_path: Path) -> None:
    limited = f"""import resource, torch
from glus.files import TOO_LARGE, write_refusal
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    {write}
except (OSError, RuntimeError) as error:
    assert write_refusal(error) is TOO_LARGE
else:
    raise AssertionError
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", limited], cwd=tmp_path, env=environment, check=True)


@pytest.mark.parametrize("number", REFUSALS)
def test_a_step_whose_disk_takes_no_more_says_what_to_do(
    configure: Callable, act: Callable, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    act("finish")

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("glus.pipeline.runner._check_outputs", refused)
    with pytest.raises(GlusError) as caught:
        run_step("stage", configure())
    assert f"stage: {REFUSALS[number].why} ({Path.cwd()}). {REFUSALS[number].remedy} and start again;" in str(
        caught.value
    )


def test_what_a_step_says_of_a_read_only_place_stays(
    configure: Callable, act: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    act("finish")

    def refused(*_: object) -> None:
        raise GlusError("Mount the folder.") from OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("glus.pipeline.runner._check_outputs", refused)
    with pytest.raises(GlusError, match=r"^Mount the folder\.$"):
        run_step("stage", configure())


def test_a_bug_keeps_its_class(configure: Callable, act: Callable) -> None:
    act("fail")
    with pytest.raises(ZeroDivisionError):
        run_step("stage", configure())


# ---------------------------------------------------------------- inputs


def stage_splits(config: Config) -> None:
    """Splits as `stage` leaves them."""
    for name in config.stage.splits:
        folder = Path("data/staged", name)
        folder.mkdir(parents=True, exist_ok=True)
        write_table("videos", [], folder / "videos.parquet")
        write_manifest(
            folder,
            step="stage",
            parameters=split_parameters(config, name),
            inputs={},
            extra={"frames_root": "data/raw/synthetic", "frames_sha256": hashlib.sha256().hexdigest(), "list": name},
        )
    for stem, names in (
        ("train", [entry.split for entry in config.data.train]),
        ("evaluation", config.data.evaluation),
    ):
        hashes = {name: read_manifest(Path("data/staged", name)).content_sha256 for name in names}
        write_json({"splits": hashes}, Path(f"data/staged/{stem}.json"))


def make_artifact(path: str, step: str, config: Config, inputs: dict[str, str]) -> None:
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "content").write_text(f"{path} from {inputs}")
    write_manifest(folder, step=step, parameters=config.parameters(find_step(step).parameters), inputs=inputs)


@pytest.fixture
def labelled(configure: Callable) -> Config:
    """A project that has come as far as `pseudolabel`."""
    config = configure()
    stage_splits(config)
    for model in (config.pseudolabel.checkpoint, "models/glus/final", "models/glus"):
        make_artifact(model, "train", config, input_hashes(find_step("train"), config))
    make_artifact("data/pseudolabels", "pseudolabel", config, input_hashes(find_step("pseudolabel"), config))
    return config


def test_inputs_are_known_by_their_content(labelled: Config) -> None:
    hashes = input_hashes(find_step("selector"), labelled)
    models = {labelled.pseudolabel.checkpoint, "models/glus/final"}
    assert set(hashes) == {"data/staged/train.json", "data/pseudolabels"} | models
    assert hashes["data/pseudolabels"] == read_manifest(Path("data/pseudolabels")).content_sha256
    assert open_split(labelled, "synthetic/test").frames_root == Path("data/raw/synthetic")


@pytest.mark.parametrize(
    ("step", "overrides", "named"),
    [
        (
            "selector",
            ["pseudolabel.share=0.1"],
            r"data/pseudolabels was made under other parameters: pseudolabel\.share",
        ),
        ("pseudolabel", ["train.loss.bce=1.0"], r"train\.loss\.bce was 2\.0, is 1\.0"),
        (
            "train",
            ["stage.synthetic.noise=1.0"],
            r"data/staged/synthetic/train was made under.*stage\.synthetic\.noise",
        ),
        (
            "train",
            ["data.train=[{split: synthetic/test, weight: 1.0}]"],
            r"train\.json lists synthetic/train, but data\.train",
        ),
        ("evaluate", [], r"data/keyframes does not exist"),
    ],
)
def test_inputs_made_under_other_parameters_are_refused(
    labelled: Config, configure: Callable, step: str, overrides: list[str], named: str
) -> None:
    with pytest.raises(ArtifactError, match=named):
        plan_step(step, configure(*overrides))


def test_inputs_made_from_other_inputs_are_refused(labelled: Config) -> None:
    checkpoint = Path(labelled.pseudolabel.checkpoint)
    (checkpoint / "content").write_text("trained again")
    manifest = read_manifest(checkpoint)
    write_manifest(checkpoint, step="train", parameters=manifest.parameters, inputs=manifest.inputs)
    make_artifact("models/glus", "train", labelled, manifest.inputs)
    with pytest.raises(ArtifactError, match=r"data/pseudolabels was made from another models/glus/step-"):
        plan_step("selector", labelled)


def test_another_model_in_the_place_of_one_is_refused(labelled: Config) -> None:
    shutil.rmtree("models/glus/final")
    shutil.copytree(labelled.pseudolabel.checkpoint, "models/glus/final")
    with pytest.raises(ArtifactError, match=r"models/glus/final is not the one that models/glus/manifest\.json lists"):
        plan_step("selector", labelled)


def test_incomplete_inputs_are_refused(labelled: Config) -> None:
    Path("data/pseudolabels/content").unlink()
    with pytest.raises(ArtifactError, match=r"data/pseudolabels is incomplete: content"):
        plan_step("selector", labelled)
    Path("data/pseudolabels/manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"data/pseudolabels has no manifest\.json"):
        plan_step("selector", labelled)


@pytest.mark.parametrize(
    ("file", "step"),
    [
        ("data/pseudolabels/content", "selector"),
        ("models/glus/final/content", "propagate"),
        ("data/staged/synthetic/train/videos.parquet", "train"),
    ],
)
def test_inputs_with_a_flipped_byte_are_refused_and_named(labelled: Config, file: str, step: str) -> None:
    content = bytearray(Path(file).read_bytes())
    content[0] ^= 1
    Path(file).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{file} is not the file that `glus"):
        input_hashes(find_step(step), labelled)


@pytest.mark.parametrize(
    ("overrides", "needed"),
    [
        (["keyframes.source=first_frame", "keyframes.comparisons=[]"], set()),
        (["keyframes.source=random_frame", "keyframes.comparisons=[first_frame]"], set()),
        (["keyframes.source=first_frame", "keyframes.comparisons=[oracle_frame]"], {"models/glus/step-000600"}),
        (["keyframes.source=chat_univi", "keyframes.comparisons=[]"], {"models/glus/step-000600"}),
        (["keyframes.source=first_frame", "keyframes.comparisons=[selector]"], {"models/selector"}),
        ([], {"models/glus/step-000600", "models/selector"}),
    ],
)
def test_key_frames_need_the_models_that_choose_them(
    configure: Callable, overrides: list[str], needed: set[str]
) -> None:
    config = configure(*overrides)
    found = set(resolve(needed_inputs(find_step("keyframes"), config), config))
    assert found == {"data/staged/evaluation.json"} | needed


def test_no_selector_is_needed_where_none_is_asked(configure: Callable) -> None:
    config = configure("keyframes.source=first_frame", "keyframes.comparisons=[]")
    stage_splits(config)
    assert set(plan_step("keyframes", config).inputs) == {"data/staged/evaluation.json"}


def test_a_split_that_was_staged_again_is_noticed(labelled: Config) -> None:
    folder = Path("data/staged/synthetic/train")
    (folder / "videos.parquet").write_text("other clips")
    manifest = read_manifest(folder)
    write_manifest(folder, step="stage", parameters=manifest.parameters, inputs={}, extra=manifest.extra)
    with pytest.raises(ArtifactError, match=r"is not the split that data/staged/train\.json lists"):
        plan_step("train", labelled)


NO_SELECTOR = ["keyframes.source=first_frame", "keyframes.comparisons=[random_frame]"]


def test_steps_that_no_source_of_key_frames_needs_say_so_and_do_nothing(configure: Callable) -> None:
    """DVC runs them all the same; without their inputs here, so that they cannot have worked."""
    for name in ("pseudolabel", "selector"):
        run_step(name, configure(*NO_SELECTOR))
    run_beside("selector", configure(*NO_SELECTOR))  # ends, though there is no group of processes to join
    for folder in ("data/pseudolabels", "models/selector"):
        manifest = read_manifest(Path(folder))
        assert (manifest.files, manifest.inputs, manifest.extra) == ({}, {}, {"needed": False})
    assert json.loads(Path("metrics/selector.json").read_text()) == {"needed": False}
    assert Path("metrics/selector_curves.csv").read_text() == "step,loss\n"
    assert Path("metrics/selector.png").is_file()


def test_what_was_not_needed_is_named_once_it_is(labelled: Config, configure: Callable) -> None:
    for name in ("pseudolabel", "selector"):
        run_step(name, configure(*NO_SELECTOR))
    assert set(plan_step("keyframes", configure(*NO_SELECTOR)).inputs) == {"data/staged/evaluation.json"}
    for step, empty in (("selector", "data/pseudolabels"), ("keyframes", "models/selector")):
        with pytest.raises(ArtifactError, match=rf"{empty} holds nothing: .*Run `glus (pseudolabel|selector)`"):
            plan_step(step, configure())
