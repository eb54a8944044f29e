"""Symbolic links of a dataset: into its DVC repository's cache and into named folders, nowhere else."""

import hashlib
import os
from pathlib import Path

import pytest
from raw_sets import write_mevis, write_youtube
from typer.testing import CliRunner

from glus.cli import app
from glus.errors import InputError
from glus.staging.checks import check_dataset
from glus.staging.faults import errors


def move_behind_links(root: Path, store: Path) -> None:
    """Every file of a dataset becomes a link into a store by content, as DVC and the Hugging Face hub keep them."""
    for path in [path for path in root.rglob("*") if path.is_file()]:
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        target = store / digest[:2] / digest[2:]
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        path.symlink_to(os.path.relpath(target, path.parent))


@pytest.mark.parametrize(("name", "write"), [("mevis", write_mevis), ("refer_youtube_vos", write_youtube)])
@pytest.mark.parametrize("workers", [1, 2])
def test_data_under_dvc_with_symlinks_is_sound(tmp_path: Path, name: str, write: object, workers: int) -> None:
    root = tmp_path / "project/data/raw"
    write(root)  # type: ignore[operator]
    move_behind_links(root, tmp_path / "project/.dvc/cache/files/md5")
    assert check_dataset(name, root, "train", workers) == []
    (tmp_path / "elsewhere").symlink_to(root)
    assert check_dataset(name, tmp_path / "elsewhere", "train") == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hugging_face_cache_is_sound_where_its_blobs_are_named(tmp_path: Path, workers: int) -> None:
    root, blobs = tmp_path / "hub/datasets--me--mevis/snapshots/1a2b", tmp_path / "hub/datasets--me--mevis/blobs"
    write_mevis(root)
    move_behind_links(root, blobs)
    refused = errors(check_dataset("mevis", root, "train", workers))
    assert refused
    assert all("symbolic link out of the dataset's folder" in fault.problem for fault in refused)
    assert all("--allow-links FOLDER" in str(fault) and "stage.allow_links" in str(fault) for fault in refused)
    assert check_dataset("mevis", root, "train", workers, links=[blobs]) == []
    command = ["check", "--dataset", "mevis", "--root", str(root), "--split", "train"]
    assert CliRunner().invoke(app, command).exit_code == 2
    assert CliRunner().invoke(app, [*command, "--allow-links", str(blobs)]).exit_code == 0
    with pytest.raises(InputError, match="is not a folder; --allow-links"):
        check_dataset("mevis", root, "train", links=[tmp_path / "absent"])


@pytest.mark.parametrize(
    "store", ["other/.dvc/cache/files", "project/.dvc/tmp", "project/secret", "project/.dvc/cache2", "files"]
)
def test_all_other_links_stay_refused(tmp_path: Path, store: str) -> None:
    """Another repository's cache, other folders of this one, a neighbour whose name begins like the cache's."""
    root = tmp_path / "project/data/raw"
    write_mevis(root)
    (tmp_path / "project/.dvc/cache").mkdir(parents=True)
    (tmp_path / "named").mkdir()
    move_behind_links(root, tmp_path / store)
    for links in ([], [tmp_path / "named"]):
        refused = errors(check_dataset("mevis", root, "train", links=links))
        assert refused
        assert all("nothing behind it was opened" in fault.problem for fault in refused)


def test_a_cache_that_is_a_link_itself_opens_nothing(tmp_path: Path) -> None:
    root = tmp_path / "project/data/raw"
    write_mevis(root)
    (tmp_path / "project/.dvc").mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "project/.dvc/cache").symlink_to(tmp_path / "private")
    move_behind_links(root, tmp_path / "private")
    assert errors(check_dataset("mevis", root, "train"))
    assert check_dataset("mevis", root, "train", links=[tmp_path / "private"]) == []


def test_scoring_takes_the_same_option(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_mevis(root)
    move_behind_links(root, tmp_path / "blobs")
    command = ["score", "--dataset", "mevis", "--root", str(root), "--split", "train", "--json"]
    command += ["--predictions", str(tmp_path / "none"), "--allow-missing"]
    refused = CliRunner().invoke(app, command)
    assert "symbolic link out" in str(refused.exception)
    allowed = CliRunner().invoke(app, [*command, "--allow-links", str(tmp_path / "blobs")])
    assert "none does not exist" in str(allowed.exception), allowed.output
