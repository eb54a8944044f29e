"""What is published stands whole or not at all, on any file system; what the manifest lists is what is read."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from glus import publishing
from glus.errors import ArtifactError, GlusError
from glus.files import HashCache, hash_file
from glus.manifest import read_manifest, verify_files, verify_where_listed, write_manifest
from glus.publishing import publish


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A finished folder."""
    folder = tmp_path / "work" / "model"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "weights").write_text("new")
    return folder


def refuse_links(*_: object) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


@pytest.mark.parametrize("other_disk", [False, True])
def test_the_new_stands_in_place_of_the_old_and_the_source_stays(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_disk: bool
) -> None:
    if other_disk:
        monkeypatch.setattr(os, "link", refuse_links)
    target = tmp_path / "models" / "glus"
    target.mkdir(parents=True)
    (target / "old").write_text("old")
    for _ in range(2):
        publish(work, target)
        assert [path.name for path in target.iterdir()] == ["inner"]
        assert (target / "inner" / "weights").read_text() == "new"
        assert [path.name for path in target.parent.iterdir()] == ["glus"]
        assert (work / "inner" / "weights").read_text() == "new"


def test_a_folder_behind_a_link_is_replaced_where_it_lies(work: Path, tmp_path: Path) -> None:
    (tmp_path / "disk" / "glus").mkdir(parents=True)
    (tmp_path / "glus").symlink_to(tmp_path / "disk" / "glus")
    publish(work, tmp_path / "glus")
    assert (tmp_path / "glus").is_symlink()
    assert (tmp_path / "disk" / "glus" / "inner" / "weights").read_text() == "new"


@pytest.mark.parametrize("tries", [1, 2])
@pytest.mark.parametrize("code", [errno.EBUSY, errno.ENOSPC, errno.EIO])
def test_the_old_stays_whatever_happens_to_the_new(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, tries: int
) -> None:
    target = tmp_path / "glus"
    target.mkdir()
    (target / "old").write_text("old")
    rename = Path.rename

    def fails(path: Path, to: Path) -> Path:
        if path.name.endswith(".new"):
            raise OSError(code, os.strerror(code))
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fails)
    for _ in range(tries):
        with pytest.raises(GlusError if code == errno.EBUSY else OSError):
            publish(work, target)
        assert (target / "old").read_text() == "old"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["glus", "work"]


def test_a_death_between_the_renames_loses_nothing(work: Path, tmp_path: Path) -> None:
    (tmp_path / ".glus.old").mkdir()
    (tmp_path / ".glus.old" / "old").write_text("old")
    (tmp_path / ".glus.new").mkdir()
    broken = tmp_path / "work" / "absent"
    with pytest.raises(FileNotFoundError):
        publish(broken, tmp_path / "glus")
    assert (tmp_path / "glus" / "old").read_text() == "old"
    publish(work, tmp_path / "glus")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["glus", "work"]


def test_everything_is_synced_before_it_has_its_name(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(publishing, "_sync", lambda path: synced.append(path.name))
    put = publishing._put_in_place
    monkeypatch.setattr(publishing, "_put_in_place", lambda *places: (synced.append("RENAMED"), put(*places)))
    publish(work, tmp_path / "out" / "glus")
    before = synced[: synced.index("RENAMED")]
    assert {"weights", "inner", ".glus.new"} <= set(before)
    assert synced[-1] == "out"


# ---------------------------------------------------------------- manifests


@pytest.fixture
def artifact(work: Path) -> Path:
    """A folder with its manifest."""
    shutil.copy(work / "inner" / "weights", work / "table.parquet")
    write_manifest(work, step="train", parameters={}, inputs={})
    return work


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "inner" / "weights").read_bytes())
    content[1] ^= 1
    (folder / "inner" / "weights").write_bytes(content)


def flip_a_byte_and_keep_the_time(folder: Path) -> None:
    file = folder / "inner" / "weights"
    times = file.stat()
    flip_a_byte(folder)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (flip_a_byte, r"inner/weights is not the file that `glus train` wrote"),
        (flip_a_byte_and_keep_the_time, r"inner/weights is not the file"),
        (lambda folder: (folder / "table.parquet").unlink(), r"is incomplete: table\.parquet"),
        (lambda folder: (folder / "more.parquet").touch(), r"does not list: more\.parquet"),
    ],
    ids=["byte", "byte, same time", "missing", "added"],
)
def test_what_was_changed_is_named(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, tamper: Callable[[Path], None], named: str
) -> None:
    monkeypatch.chdir(artifact.parent)
    Path(".glus").mkdir()
    verify_files(artifact, read_manifest(artifact))
    tamper(artifact)
    with pytest.raises(ArtifactError, match=named):
        verify_files(artifact, read_manifest(artifact))
    with pytest.raises(ArtifactError, match=named):
        verify_where_listed(artifact)


def test_a_folder_without_a_manifest_is_taken_as_it_is(work: Path) -> None:
    verify_where_listed(work)


def test_unchanged_files_are_not_read_again(artifact: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".glus").mkdir()
    file = artifact / "inner" / "weights"
    monkeypatch.setattr("glus.files.TICK_NS", 0)
    cache = HashCache()
    expected = cache.hash(file)
    cache.save()
    artifact.rename(tmp_path / "renamed")
    monkeypatch.setattr("glus.files.hash_file", lambda path: pytest.fail(f"{path} is read again"))
    assert HashCache().hash(tmp_path / "renamed" / "inner" / "weights") == expected


def test_a_hash_is_not_remembered_within_a_tick_of_the_clock(tmp_path: Path) -> None:
    file, cache = tmp_path / "file", HashCache(tmp_path / "hashes.json")
    file.write_text("one")
    cache.hash(file)
    file.write_text("two")
    assert cache.hash(file) == hash_file(file)


@pytest.mark.parametrize("content", ["", "[", "[]", "\x00"])
def test_a_damaged_memory_of_hashes_is_made_anew(tmp_path: Path, content: str) -> None:
    file = tmp_path / "hashes.json"
    file.write_text(content)
    assert HashCache(file).hash(file) == hash_file(file)
