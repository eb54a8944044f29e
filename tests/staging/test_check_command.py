"""`glus check`: what it prints, and how it ends."""

import json
from pathlib import Path

import pytest
from raw_sets import write_mevis, write_youtube

from glus.cli import main
from glus.records.schemas import SCHEMAS

LAYOUTS = {"mevis": ("mevis", "mevis"), "ytvos": ("refer_youtube_vos", "Refer-YouTube-VOS")}


def check(capsys: pytest.CaptureFixture[str], dataset: str, root: Path, *more: str) -> tuple[int, str, str]:
    """Exit code, output and errors."""
    with pytest.raises(SystemExit) as ended:
        main(["check", "--dataset", dataset, "--root", str(root), *more])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_broken_datasets_end_as_they_should(
    shared: Path, capsys: pytest.CaptureFixture[str], subtests: pytest.Subtests
) -> None:
    cases = sorted(shared.glob("broken/*/expected.json"))
    if not cases:
        pytest.skip(f"{shared}/broken holds no cases")
    for path in cases:
        expected = json.loads(path.read_text())
        dataset, folder = LAYOUTS[expected["layout"]]
        with subtests.test(expected["case"]):
            code, out, errors = check(capsys, dataset, path.parent / folder, "--split", expected["split"], "--json")
            assert code == (2 if expected["severity"] == "error" else 0)
            assert errors == ""
            found = json.loads(out)
            assert {fault["severity"] for fault in found} - {"warning"} <= {expected["severity"]}
            for fault in found:
                assert list(fault) == SCHEMAS["staging_errors"].names
                assert fault["problem"] and fault["action"]
                assert not Path(fault["file"]).is_absolute()


def test_every_split_that_is_there_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mevis(tmp_path)
    (tmp_path / "train/JPEGImages/aaa/00005.jpg").write_bytes(b"")
    (tmp_path / "valid").mkdir()
    (tmp_path / "valid/meta_expressions.json").write_text("{")
    code, out, _ = check(capsys, "mevis", tmp_path, "--json")
    assert code == 2
    assert [(fault["split"], fault["file"]) for fault in json.loads(out)] == [
        ("train", "train/JPEGImages/aaa/00005.jpg"),
        ("valid", "valid/meta_expressions.json"),
    ]
    code, out, _ = check(capsys, "mevis", tmp_path, "--split", "train")
    assert code == 2
    assert out.splitlines()[0].startswith("error: train: train/JPEGImages/aaa/00005.jpg, video aaa, frame 00005: ")
    assert out.splitlines()[-1] == "1 errors, 0 warnings"


def test_sound_data_is_an_empty_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_youtube(tmp_path)
    assert check(capsys, "refer_youtube_vos", tmp_path, "--json", "--workers", "2")[:2] == (0, "[]\n")


@pytest.mark.parametrize(
    ("dataset", "there", "said"),
    [
        ("revos", True, "holds no split of revos. Expected below it: JPEGImages/"),
        ("lvvis", False, "does not exist; it should be the folder of lvvis"),
        ("own", True, "holds no split of own"),
    ],
)
def test_no_dataset_is_one_paragraph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: str, there: bool, said: str
) -> None:
    root = tmp_path if there else tmp_path / "nowhere"
    code, out, errors = check(capsys, dataset, root)
    assert (code, out) == (2, "")
    assert said in errors
    assert len(errors.splitlines()) == 1
    code, out, errors = check(capsys, dataset, root, "--json")
    assert (code, errors) == (2, "")
    (fault,) = json.loads(out)
    assert (fault["severity"], said in fault["problem"]) == ("error", True)


def test_a_missing_list_is_a_fault_of_the_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mevis(tmp_path)
    (tmp_path / "train/meta_expressions.json").unlink()
    code, out, _ = check(capsys, "mevis", tmp_path, "--split", "train", "--json")
    (fault,) = json.loads(out)
    assert (code, fault["severity"], fault["file"]) == (2, "error", "train/meta_expressions.json")
