"""`glus segment` on a tiny random model that always says [SEG]: forms, resuming, sound, bad input, Ctrl-C."""

import errno
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from glus.cli import main
from glus.masks import encode_rle
from glus.model.glus import GlusModel
from glus.model.lora import merged_state_dict
from glus.model.scratch import build_from_scratch
from glus.records.tables import read_table
from glus.segmenting import clips, jobs, pieces, rows, run
from glus.weights.saved import save_glus

T, WIDTH, HEIGHT, RATE = 10, 64, 48, 25
RED, GREEN = "the red circle", "the small green square"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def models(config, trained_tokenizer, tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model = build_from_scratch(config.model, trained_tokenizer, seed=0).eval()
    save_glus(model, merged_state_dict(model), folder)
    return folder


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    write_film(path, T)
    return path


def write_film(path: Path, num_frames: int, *, sound: str | None = "aac") -> None:
    """Noise at 25 frames per second; half a second of a tone."""
    noise = np.random.default_rng(0).integers(0, 255, (num_frames, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=RATE, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        tone = container.add_stream(sound, rate=8000, layout="mono") if sound else None
        for frame in noise.repeat(8, 1).repeat(8, 2):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(pictures.encode())
        if tone is not None:
            wave = (8000 * np.sin(np.arange(4000) / 5)).astype(np.int16)
            samples = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 8000, 0, Fraction(1, 8000)
            container.mux(tone.encode(samples))
            container.mux(tone.encode())


@pytest.fixture
def segment(models, monkeypatch, capsys, tmp_path) -> Run:
    """Runs the command in an empty folder; returns exit code, output and errors."""
    logits = GlusModel.seg_logits

    def forced(self, hidden):
        values = logits(self, hidden)
        values[..., self.seg_id] = values.max() + 1
        return values

    monkeypatch.setattr(GlusModel, "seg_logits", forced)
    monkeypatch.setattr(pieces, "FRAMES_IN_A_PIECE", 3)
    monkeypatch.chdir(tmp_path)

    def start(*arguments: object, model: Path = models) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["segment", *map(str, arguments), "--model", str(model)])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return start


class KilledError(BaseException):
    """Ends the command as a signal would: nothing is tidied up."""


@contextmanager
def killed(after: int) -> Iterator[None]:
    """Ends the command after a number of masks."""
    masks = iter(range(after))

    def counted(mask: np.ndarray) -> str:
        if next(masks, None) is None:
            raise KilledError
        return encode_rle(mask)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(rows, "encode_rle", counted)
        yield


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def decoded(row: dict) -> np.ndarray:
    rle = {"size": [row["height_px"], row["width_px"]], "counts": row["rle_counts"].encode()}
    return coco.decode(rle).astype(bool)


def test_every_form_is_opened_again_and_holds_the_same_masks(segment, film, tmp_path):
    forms = [word for form in ("png", "palette", "coco", "cutout") for word in ("--format", form)]
    code, out, errors = segment(film, "-e", RED, "-e", GREEN, "-o", "out", "--key-frame", 4, *forms)
    assert code == 0, errors
    assert "2 x 10 masks and overlay.mp4 are in out" in out
    table = read_table("segmented", Path("out/masks.parquet")).to_pylist()
    assert [(row["frame_index"], row["sentence_number"]) for row in table] == [(f, s) for f in range(T) for s in (0, 1)]
    assert [row["time_s"] for row in table[::2]] == pytest.approx(np.arange(T) / RATE)
    assert [row["frame_name"] for row in table[::2]] == [f"{frame:05d}" for frame in range(T)]
    assert [row["frame_index"] for row in table if row["is_key_frame"]] == [4, 4]
    result = json.loads(Path("out/result.json").read_text())
    assert result["times_s"] == [row["time_s"] for row in table[::2]]
    tracks = json.loads(Path("out/coco.json").read_text())["annotations"]
    assert [track["expression"] for track in tracks] == [RED, GREEN]
    for row in table:
        mask, number, name = decoded(row), row["sentence_number"], row["frame_name"]
        picture = np.asarray(Image.open(f"out/masks/{number:02d}/{name}.png"))
        np.testing.assert_array_equal(picture, mask * 255)
        cutout = Image.open(f"out/cutout/{number:02d}/{name}.png")
        assert cutout.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(cutout)[..., 3], mask * 255)
        rle = tracks[number]["segmentations"][row["frame_index"]]
        np.testing.assert_array_equal(coco.decode(rle) if rle else np.zeros_like(mask), mask)
        palette = Image.open(f"out/palette/{name}.png")
        assert palette.mode == "P"
        above = decoded(table[2 * row["frame_index"] + 1])
        np.testing.assert_array_equal(np.asarray(palette) == number + 1, mask & ~above if number == 0 else mask)
        assert result["expressions"][number]["area_px"][row["frame_index"]] == mask.sum() == row["area_px"]
    assert sum(row["area_px"] for row in table) > 0
    assert result["expressions"][0]["masks"] == "masks/00"


def test_the_overlay_has_the_film_s_size_times_and_sound_and_marks_the_key_frame(segment, film):
    assert segment(film, "-e", RED, "-o", "out", "--key-frame", 4)[0] == 0

    def read(path: Path) -> tuple[list[float], list[np.ndarray], list[tuple[int | None, bytes]]]:
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        with av.open(str(path)) as container:
            sound = [(packet.pts, bytes(packet)) for packet in container.demux(audio=0) if packet.size]
        return [frame.time for frame in frames], [frame.to_ndarray(format="rgb24") for frame in frames], sound

    (times, pictures, sound), (own_times, own_pictures, own_sound) = read(film), read(Path("out/overlay.mp4"))
    assert own_times == pytest.approx(times, abs=1e-4)
    assert own_sound == sound
    assert own_pictures[0].shape == pictures[0].shape
    with av.open("out/overlay.mp4") as container:
        assert container.streams.video[0].average_rate == RATE
    pairs = zip(own_pictures, pictures, strict=True)
    edges = [np.abs(own[0].astype(int) - picture[0]).mean() for own, picture in pairs]
    assert max(range(T), key=edges.__getitem__) == 4


@pytest.mark.parametrize(("name", "sound"), [("film.avi", "pcm_u8"), ("film.mov", "pcm_s16le")])
def test_a_part_of_a_film_brings_its_part_of_the_sound(segment, tmp_path, name, sound):
    write_film(tmp_path / name, 8, sound=sound)  # nothing that an mp4 holds, and nothing that players expect in one
    code, _, errors = segment(name, "-e", RED, "-o", "out", "--frames", "3:8", "--every", 2)
    assert code == 0, errors
    result = json.loads(Path("out/result.json").read_text())
    assert result["frame_indices"] == [3, 5, 7]
    with av.open("out/overlay.mp4") as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx([0, 0.08, 0.16], abs=1e-4)
    with av.open("out/overlay.mp4") as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert 0.1 < samples / 8000 < 0.6


def test_a_sound_that_fails_costs_the_sound_alone(segment, film, monkeypatch, caplog):
    def failing(*_: object) -> None:
        raise av.error.InvalidDataError(1, "Invalid data found")

    monkeypatch.setattr("glus.reporting.sound._copied", failing)
    assert segment(film, "-e", RED, "-o", "out")[0] == 0
    assert f"the sound of {film} cannot be taken over (Invalid data found); overlay.mp4 has none" in caplog.text
    with av.open("out/overlay.mp4") as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert len(list(container.decode(video=0))) == T


def test_names_that_begin_like_a_protocol_are_names(segment, film):
    Path("10:30.mp4").write_bytes(film.read_bytes())
    code, _, errors = segment("10:30.mp4", "-e", RED, "-o", "10:31")
    assert code == 0, errors
    assert {"masks.parquet", "overlay.mp4"} <= {path.name for path in Path("10:31").iterdir()}


def test_pictures_larger_than_any_film_are_refused_before_their_masks(segment, film, monkeypatch):
    monkeypatch.setattr(clips, "LONGEST_SIDE", WIDTH - 1)
    code, _, errors = segment(film, "-e", RED, "-o", "out")
    assert (code, Path("out").exists()) == (2, False)
    assert f"{film} is 64x48 pixels, but the film of its masks can have 63 on a side" in errors


def test_one_command_at_a_time_works_on_a_result(segment, film):
    with killed(after=8):
        segment(film, "-e", RED, "-o", "out")
    before = content(Path("out"))
    with Path("out/unfinished/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, errors = segment(film, "-e", RED, "-o", "out")
    assert (code, content(Path("out"))) == (1, before)
    assert "Another `glus segment` is at work in out" in errors
    assert segment(film, "-e", RED, "-o", "out")[0] == 0


def test_an_empty_folder_is_filled_and_another_one_is_not(segment, film):
    Path("out").mkdir()
    Path("other").mkdir()
    Path("other/notes.txt").write_text("mine")
    assert segment(film, "-e", RED, "-o", "out")[0] == 0
    code, _, errors = segment(film, "-e", RED, "-o", "other")
    assert (code, [path.name for path in Path("other").iterdir()]) == (2, ["notes.txt"])
    assert "other exists already" in errors


@pytest.mark.parametrize("masks", [2, 9, 19])
def test_killed_and_started_again_it_ends_with_the_same_bytes(segment, film, masks):
    arguments = (film, "-e", RED, "-e", GREEN, "--key-frame", 4, "--format", "png")
    assert segment(*arguments, "-o", "whole")[0] == 0
    with killed(after=masks):
        segment(*arguments, "-o", "again")
    code, _, errors = segment(*arguments, "-o", "again")
    assert code == 0, errors
    assert content(Path("again")) == content(Path("whole"))
    assert "already" in segment(*arguments, "-o", "again")[1]


def test_killed_while_pictures_are_written_nothing_is_segmented_again(segment, film, monkeypatch):
    arguments = (film, "-e", RED, "--format", "png")
    assert segment(*arguments, "-o", "whole")[0] == 0

    def broken(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(run, "write_forms", broken)
        segment(*arguments, "-o", "again")
    with monkeypatch.context() as patch:
        patch.setattr(rows, "encode_rle", broken)
        assert segment(*arguments, "-o", "again")[0] == 0
    assert content(Path("again")) == content(Path("whole"))


def test_another_question_is_refused_by_name_and_another_form_is_added(segment, film, tmp_path, monkeypatch):
    assert segment(film, "-e", RED, "-o", "out")[0] == 0
    before = content(Path("out"))
    for options, named in (
        (["-e", GREEN], "out was made with other parameters: sentences was ['the red circle']"),
        (["-e", RED, "--window-stride", 4], "window_stride was 1, is 4"),
        (["-e", RED, "--every", 2], "every was 1, is 2"),
    ):
        code, _, errors = segment(film, *options, "-o", "out")
        assert (code, content(Path("out"))) == (2, before)
        assert named in errors
    write_film(tmp_path / "other.mp4", 4, sound=None)
    assert "out was made with another video" in segment("other.mp4", "-e", RED, "-o", "out")[2]
    monkeypatch.setattr(run, "VideoSession", None)  # nothing is segmented any more
    assert segment(film, "-e", RED, "-o", "out", "--format", "png")[0] == 0
    assert len(list(Path("out/masks/00").iterdir())) == T
    assert json.loads(Path("out/result.json").read_text())["expressions"][0]["masks"] == "masks/00"


def test_ctrl_c_finishes_the_frame_says_one_line_and_keeps_what_is_finished(segment, film, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(rows, "encode_rle", lambda mask: (os.kill(os.getpid(), signal.SIGINT), encode_rle(mask))[1])
        code, _, errors = segment(film, "-e", RED, "-o", "out")
    assert code == 1
    lines = [line for line in errors.splitlines() if line.startswith("glus: ")]
    assert lines == [
        f"glus: Interrupted: 1 of 10 frames of {film} are finished and kept in out; the same command goes on from"
        " there."
    ]
    assert read_table("segmented", Path("out/unfinished/masks-000000.parquet")).num_rows == 1
    assert segment(film, "-e", RED, "-o", "out")[0] == segment(film, "-e", RED, "-o", "whole")[0] == 0
    assert content(Path("out")) == content(Path("whole"))


def test_a_power_loss_at_the_very_end_loses_nothing(segment, film, monkeypatch):
    """The manifest is there and empty; what it speaks of is synced to disk before the pieces go."""
    assert segment(film, "-e", RED, "-o", "whole")[0] == 0

    def lost(folder: Path) -> None:
        (folder / "manifest.json").write_bytes(b"")
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(run, "sync", lost)
        segment(film, "-e", RED, "-o", "out")
    assert segment(film, "-e", RED, "-o", "out")[0] == 0
    assert content(Path("out")) == content(Path("whole"))


@pytest.mark.parametrize(
    "fact", ["masks-000001.parquet differs in the columns stability", "job.json has no selector_scores"]
)
def test_what_another_version_began_is_refused_and_stays(segment, film, fact):
    with killed(after=8):
        segment(film, "-e", RED, "-o", "out")
    unfinished = Path("out/unfinished")
    if "parquet" in fact:
        older = pq.read_table(unfinished / "masks-000001.parquet").drop_columns(["stability"])
        pq.write_table(older, unfinished / "masks-000001.parquet")
    else:
        job = json.loads((unfinished / "job.json").read_text())
        del job["selector_scores"]
        (unfinished / "job.json").write_text(json.dumps(job))
    before = content(Path("out"))
    code, _, errors = segment(film, "-e", RED, "-o", "out")
    assert code == 2 and errors.count("\n") == 1
    assert f"out/unfinished was begun by another version of GLUS ({fact})" in errors
    assert content(Path("out")) == before


def test_a_table_names_videos_and_sentences_from_any_folder(segment, tmp_path, monkeypatch):
    films = tmp_path / "films"
    (films / "frames").mkdir(parents=True)
    write_film(films / "a.mp4", 2)
    for number in (9, 10, 11):
        Image.new("RGB", (WIDTH, HEIGHT), (number * 20, 0, 0)).save(films / "frames" / f"shot{number}.png")
    (films / "broken.mp4").write_bytes(b"no film")
    table = 'video,sentence\na.mp4,"the red circle, left"\nbroken.mp4,the dog\nframes,the red circle\na.mp4,the dog\n'
    (films / "list.csv").write_text(table)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    code, _, errors = segment("../films/list.csv", "-o", "out", "--format", "png")
    assert code == 2
    assert "1 of 3 videos could not be read: ../films/broken.mp4" in errors
    assert {path.name for path in Path("out").iterdir()} == {"a", "frames"}
    sentences = [item["expression"] for item in json.loads(Path("out/a/result.json").read_text())["expressions"]]
    assert sentences == ["the red circle, left", "the dog"]
    assert [path.name for path in sorted(Path("out/frames/masks/00").iterdir())] == [
        "shot10.png",
        "shot11.png",
        "shot9.png",
    ]
    assert json.loads(Path("out/frames/result.json").read_text())["times_s"] is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere.mp4", "-e", RED], "nowhere.mp4 does not exist"),
        (["empty", "-e", RED], "empty holds no pictures"),
        (["sizes", "-e", RED], "mixes sizes"),
        (["text.mp4", "-e", RED], "text.mp4 cannot be read as a film"),
        (["one"], "at least one sentence is needed"),
        (["one", "-e", " . "], "expression 0 is empty"),
        (["one", "-e", "the [SEG] one"], "holds [SEG]"),
        (["one", "-e", "very " * 3000], "does not fit the language model's window"),
        (["one", "-e", RED, "--key-frame", "1"], "--key-frame 1: the frames are 0 to 0"),
        (["one", "-e", RED, "--window-stride", "9"], "window_stride 9"),
        (["words.csv"], "words.csv has the columns film, words, expected video and sentence"),
        (["cells.csv"], "cells.csv, line 2 has 3 cells, expected 2"),
        (["semicolons.csv"], "expected video and sentence, once each, separated by commas"),
        (["zero.csv"], "zero.csv, line 2 names no video (it holds a zero byte)"),
        (["marked.csv"], "marked.csv, line 3: expression 0 holds <image>"),
    ],
)
def test_bad_input_is_one_paragraph_and_leaves_nothing(segment, tmp_path, arguments, named):
    for folder in ("empty", "sizes", "one"):
        Path(folder).mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save("one/0.png")
    for number in (0, 1):
        Image.new("RGB", (WIDTH + number, HEIGHT)).save(f"sizes/{number}.png")
    Path("text.mp4").write_text("no film")
    Path("words.csv").write_text("film,words\na,b\n")
    Path("cells.csv").write_text("video,sentence\none,the dog, left\n")
    Path("semicolons.csv").write_text("video;sentence\none;the dog\n")
    Path("zero.csv").write_text("video,sentence\non\0e,the dog\n")
    Path("marked.csv").write_text("video,sentence\none,the dog\none,the <image>\n")
    code, _, errors = segment(*arguments, "-o", "out")
    assert code == 2, errors
    assert named in errors
    assert errors.count("glus: ") == 1
    assert not Path("out").exists()


def test_a_precision_is_part_of_the_question_and_needs_its_library(segment, film, monkeypatch):
    assert segment(film, "-e", RED, "-o", "out", "--precision", "bfloat16")[0] == 0
    assert "dtype was 'bfloat16', is 'float32'" in segment(film, "-e", RED, "-o", "out")[2]
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    code, _, errors = segment(film, "-e", RED, "-o", "other", "--precision", "int8")
    assert (code, Path("other").exists()) == (1, False)
    assert "int8 and int4 need the library bitsandbytes" in errors


def test_compiling_is_part_of_the_question(segment, film, monkeypatch):
    compiled = []
    monkeypatch.setattr("glus.segmenting.models.compile_image_encoder", compiled.append)
    assert segment(film, "-e", RED, "-o", "out", "--compile")[0] == 0
    assert len(compiled) == 1
    assert "image_encoder was 'compiled', is None" in segment(film, "-e", RED, "-o", "out")[2]


def test_too_little_memory_for_the_libraries_is_said(segment, film, monkeypatch):
    def failing(*_: object) -> None:
        raise ImportError("libtorch_cpu.so: failed to map segment from shared object")

    monkeypatch.setattr(jobs, "plan_jobs", failing)
    code, _, errors = segment(film, "-e", RED, "-o", "out")
    assert code == 1
    assert "the machine has too little memory (libtorch_cpu.so: failed to map segment" in errors


def test_a_folder_that_cannot_be_written_is_said(segment, film):
    Path("file").touch()
    code, _, errors = segment(film, "-e", RED, "-o", "file/out")
    assert code == 2
    assert "file/out cannot be written (Not a directory); name another folder" in errors


def test_no_model_is_said_before_anything_is_written(segment, film):
    code, _, errors = segment(film, "-e", RED, "-o", "out", model=Path("nothing"))
    assert (code, Path("out").exists()) == (2, False)
    assert "nothing does not exist; a folder with a model is expected" in errors


def test_one_frame_is_a_video(segment):
    Image.new("RGB", (WIDTH, HEIGHT), (200, 0, 0)).save("picture.png")
    assert segment("picture.png", "-e", RED, "-o", "out")[0] == 0
    assert read_table("segmented", Path("out/masks.parquet"))["frame_name"].to_pylist() == ["picture"]


@pytest.mark.parametrize(
    ("failure", "named"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "out cannot be written: the disk is full. Finished frames of",
        ),
        (MemoryError(), "The machine has too little memory for 1 sentences at a time"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            "too little memory",
        ),
    ],
)
def test_a_full_disk_and_too_little_memory_are_said_and_finished_frames_stay(
    segment, film, monkeypatch, failure, named
):
    with monkeypatch.context() as patch:
        counted = iter(range(5))

        def failing(*arguments):
            if next(counted, None) is None:
                raise failure
            return rows.found_masks(*arguments)

        patch.setattr(run, "found_masks", failing)
        code, _, errors = segment(film, "-e", RED, "-o", "out")
    assert code == 1
    assert named in errors
    assert read_table("segmented", Path("out/unfinished/masks-000000.parquet")).num_rows == 3
    assert segment(film, "-e", RED, "-o", "out")[0] == 0
