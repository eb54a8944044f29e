"""Overlays: every table fits the presets it is for, each row differs, and a wrong name is told."""

import itertools
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from glus.ablations.sharing import step_keys
from glus.ablations.tables import ALONE, find_table, tables
from glus.ablations.variants import PARAMETERS, Run
from glus.cli import app
from glus.config import PRESETS, load_config
from glus.config.editing import replaced
from glus.errors import ConfigError, InputError

TINY = ["4", "5", "6", "C", "figure-4", "switches", "refinement"]


@pytest.mark.parametrize(
    ("number", "preset"), [*((number, "smoke") for number in TINY), *((number, "glus_s") for number in [*TINY, "7"])]
)
def test_every_row_fits_and_makes_something_else(number: str, preset: str, tmp_path: Path) -> None:
    table, origin = find_table(number), tmp_path / "params.yaml"
    splits = load_config(PRESETS / f"{preset}.yaml").data.evaluation
    files = {"keyframes.files": dict.fromkeys(splits, "elsewhere"), "propagate.cutie_weights": "elsewhere"}
    needs = {variant.needs: files[variant.needs] for variant in table.variants if variant.needs}
    origin.write_text(replaced(PRESETS / f"{preset}.yaml", needs, PARAMETERS))
    runs = [Run(table, variant, 0, origin) for variant in table.variants]
    ends = [step_keys(run.config())["evaluate"] for run in runs]
    assert len(set(ends)) == len(ends)
    assert not {key for variant in table.variants for key in variant.changes} & {"seed", "tracking.variant"}


def test_rows_build_on_each_other_as_in_the_paper() -> None:
    """Table 4 from its third row on: each takes back what the one before has left out."""
    left_out = [set(variant.changes) for variant in find_table("4").variants[2:]]
    assert [len(one - two) for one, two in itertools.pairwise(left_out)] == [2, 1, 1]
    assert all(two < one for one, two in itertools.pairwise(left_out))


def test_table_c_and_table_4_share_two_rows() -> None:
    def end(number: str, name: str) -> str:
        table = find_table(number)
        return step_keys(Run(table, table.chosen([name])[0], 0, PRESETS / "glus_s.yaml").config())["evaluate"]

    assert end("C", "no-memory") == end("4", "glu")
    assert end("C", "stride-3") == end("4", "glu-mb") == end("7", "1-to-1")
    assert end("5", "fine-tuned") == end("6", "glus") == end("4", "glu-mb-oc-kfs") != end("5", "no-selector")


def test_ratios_of_table_7_share_what_is_staged() -> None:
    """How often a split is drawn from decides training, and not what is staged of it."""
    table = find_table("7")
    keys = [step_keys(Run(table, row, 0, PRESETS / "glus_s.yaml").config()) for row in table.variants]
    assert len({of_row["stage"] for of_row in keys}) == 1
    assert len({of_row["train"] for of_row in keys}) == len(table.variants)


def test_rounds_of_refinement_share_the_model_and_end_where_the_next_would_be_the_same() -> None:
    table = find_table("refinement")
    keys = [step_keys(Run(table, variant, 0, PRESETS / "smoke.yaml").config()) for variant in table.variants]
    shared = [step for step in keys[0] if len({of_round[step] for of_round in keys}) == 1]
    assert shared == ["stage", "train"]
    labelling = [variant.changes.get("pseudolabel.checkpoint") for variant in table.variants]
    assert labelling == [None, "models/glus/final"]  # by what the round before ends with; training is never another


def test_tables_have_folders_and_numbers_of_their_own() -> None:
    found = list(tables())
    assert {table.folder for table in found} >= {"table-4", "table-5", "table-6", "table-7", "table-c", "figure-4"}
    assert len({table.number for table in found}) == len({table.folder for table in found}) == len(found)
    assert set(find_table("Figure 4").common) & set(ALONE) == {"propagate.comparisons.training_steps"}


def test_names_that_are_not_there_are_told() -> None:
    with pytest.raises(InputError, match=r"no ablation table '8'; there are: .*table-4"):
        find_table("8")
    with pytest.raises(InputError, match="table-6 has no variant cutee; it has cutie, sam2"):
        find_table("6").chosen(["cutee"])
    with pytest.raises(ConfigError, match=r"table-7/2-to-1/seed-0, on top of .*tiny.yaml.*mevis/train is not among"):
        Run(find_table("7"), find_table("7").variants[0], 0, PRESETS / "tiny.yaml").config()


def test_a_dry_run_says_who_computes_what(tmp_path, monkeypatch, root) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text())
    done = CliRunner().invoke(app, ["ablate", "C", "--seeds", "0,1", "--json"])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.output)
    assert plan["table"] == "C" and plan["folder"] == "table-c" and len(plan["runs"]) == 12
    trainings = [(run["variant"], run["seed"]) for run in plan["runs"] if "train" in run["computes"]]
    assert trainings == [("no-memory", 0), ("stride-1", 0), ("no-memory", 1), ("stride-1", 1)]
    assert [run["seed"] for run in plan["runs"] if "stage" in run["computes"]] == [0]
    assert not [run for run in plan["runs"] if "selector" in run["computes"]]  # first frames need none


def test_a_row_without_its_files_is_left_out_and_refused_where_it_is_asked_for(tmp_path, monkeypatch, root) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text())
    done = CliRunner().invoke(app, ["ablate", "6", "--json"])
    assert [run["variant"] for run in json.loads(done.stdout)["runs"]] == ["sam2", "glus"]
    assert "cutie is left out: propagate.cutie_weights names none in params.yaml" in done.stderr
    done = CliRunner().invoke(app, ["ablate", "6", "--only", "cutie", "--json"])
    assert isinstance(done.exception, ConfigError) and "cutie-base-mega.pth" in str(done.exception)
    named = replaced(Path("params.yaml"), {"propagate.cutie_weights": "elsewhere"}, PARAMETERS)
    Path("params.yaml").write_text(named)
    done = CliRunner().invoke(app, ["ablate", "6", "--json"])
    assert [run["variant"] for run in json.loads(done.stdout)["runs"]] == ["cutie", "sam2", "glus"]
    done = CliRunner().invoke(app, ["ablate", "5", "--json"])
    assert [run["variant"] for run in json.loads(done.stdout)["runs"]] == ["no-selector", "chat-univi", "fine-tuned"]
    assert "llama-vid is left out: keyframes.files names none" in done.stderr


def test_outside_of_a_clone_nothing_is_begun(tmp_path, monkeypatch, root) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text())
    done = CliRunner().invoke(app, ["ablate", "C", "--seeds", "0,1"])
    assert isinstance(done.exception, InputError)
    assert "has no glus; dvc.yaml; .dvcignore: each" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_seeds_are_numbers() -> None:
    done = CliRunner().invoke(app, ["ablate", "4", "--seeds", "0;1"])
    assert isinstance(done.exception, InputError) and "such as 0,1,2" in str(done.exception)
