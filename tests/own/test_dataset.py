"""From labels to a dataset that staging reads, and from our own masks back in."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from html_checks import check_page
from phone import on_a_phone
from PIL import Image

from glus.cli import main
from glus.config import load_config
from glus.evaluation.exports import coco_document, coco_track
from glus.evaluation.truth import open_ground_truth
from glus.files import write_json
from glus.masks import decode_rle, encode_rle, union
from glus.own.dataset import hold_out
from glus.own.labels import AnnotatedTrack, AnnotatedVideo
from glus.own.regions import Regions
from glus.own.review import review
from glus.own.videos import VideoFolder
from glus.records.tables import write_table
from tests.own.conftest import HEIGHT, WIDTH, T


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def staged_masks(root: Path, split: str) -> dict[tuple[str, str], list[np.ndarray]]:
    """Video and sentence -> its mask in each frame, as scoring sees it."""
    truth = open_ground_truth("own", root, split, 1, ())
    found = {}
    for video_id, expressions in truth.expressions.items():
        video, tracks = truth.videos[video_id], truth.mask_rles(video_id)
        size = video.height_px, video.width_px
        for item in expressions:
            parts = [tracks[name] for name in item.annotation_ids if name in tracks]
            found[video_id, item.text] = [
                union((decode_rle(part[at], *size) for part in parts if at in part), *size)
                for at in range(video.num_frames)
            ]
    return found


@pytest.fixture
def masks(box) -> dict[str, np.ndarray]:
    """By sentence, bool [T, H, W]: a box that moves, another that overlaps with it and goes, and one that is both."""
    moving = np.stack([np.roll(box, 2 * at, axis=1) for at in range(T)])
    other = np.stack([np.roll(box, (3, 3), axis=(0, 1)) & (at < 3) for at in range(T)])
    return {"the moving box": moving, "the one, that goes": other, "both of them": moving | other}


@pytest.fixture
def results(footage, masks, tmp_path) -> Path:
    """What `glus segment` would have written of both videos."""
    for name in ("clip", "film"):
        frames = [f"{at:05d}" for at in range(T)]
        folder = tmp_path / "results" / name
        rows = [
            {
                "frame_index": at, "frame_name": frames[at], "time_s": None, "sentence_number": number,
                "sentence": sentence, "height_px": HEIGHT, "width_px": WIDTH, "rle_counts": encode_rle(track[at]),
                "area_px": int(track[at].sum()), "seg_token_generated": True, "is_key_frame": at == 0,
                "stability": 0.9, "selector_score": 0.2 if (name, number) == ("film", 1) else 0.8,
            }
            for at in range(T)
            for number, (sentence, track) in enumerate(masks.items())
        ]  # fmt: skip
        folder.mkdir(parents=True)
        write_table("segmented", rows, folder / "masks.parquet")
        said = [{"expression": sentence} for sentence in masks]
        suffix = ".mp4" if name == "film" else ""
        content = {"video": f"/some/where/{name}{suffix}", "frame_names": frames, "expressions": said}
        write_json(content, folder / "result.json")
    return tmp_path / "results"


def init(results: Path, footage: Path, target: Path, *more: object) -> int:
    return run("own", "init", target, "--from", "segment", "--labels", results, "--videos", footage, *more)


def test_masks_come_back_equal_although_they_overlap(results, footage, masks, tmp_path, capsys) -> None:
    assert init(results, footage, tmp_path / "own", "--held-out", "film") == 0
    assert "held out: film" in capsys.readouterr().out
    for split, video in (("train", "clip"), ("valid", "film")):
        found = staged_masks(tmp_path / "own", split)
        assert found.keys() == {(video, sentence) for sentence in masks}
        for sentence, track in masks.items():
            assert (np.stack(found[video, sentence]) == track).all(), (video, sentence)
    assert (tmp_path / "own/valid/Videos/film.mp4").read_bytes() == (footage / "film.mp4").read_bytes()
    assert run("check", "--dataset", "own", "--root", tmp_path / "own") == 0


def test_masks_come_back_equal_from_coco(footage, masks, tmp_path) -> None:
    """In the form that `glus segment --format coco` writes, one file for each video."""
    labels = []
    for name in ("clip", "film.mp4"):
        video = {"id": 1, "name": f"/some/where/{name}", "file_names": [f"{at:05d}" for at in range(T)], "length": T}
        annotations = [
            {"id": number, "video_id": 1, "category_id": 1, "expression": sentence}
            | coco_track(T, HEIGHT, WIDTH, [(at, encode_rle(mask)) for at, mask in enumerate(track) if mask.any()])
            for number, (sentence, track) in enumerate(masks.items(), start=1)
        ]
        file = tmp_path / f"{name}.json"
        write_json(coco_document(name, [video | {"height": HEIGHT, "width": WIDTH}], annotations), file)
        labels += ["--labels", file]
    arguments = ["--from", "coco", *labels, "--videos", footage, "--held-out", "film"]
    assert run("own", "init", tmp_path / "own", *arguments) == 0
    for split, video_id in (("train", "clip"), ("valid", "film")):
        found = staged_masks(tmp_path / "own", split)
        assert all((np.stack(found[video_id, sentence]) == track).all() for sentence, track in masks.items())


def test_a_corrected_mask_counts_and_added_videos_are_trained_on(results, footage, masks, tmp_path, capsys) -> None:
    labels = tmp_path / "labels"
    for name in ("clip", "film"):
        (labels / name).mkdir(parents=True)
        for at in range(T):
            Image.fromarray(masks["the moving box"][at].astype(np.uint8)).save(labels / name / f"{at:05d}.png")
    (footage / "again").mkdir()
    for file in (footage / "clip").iterdir():
        (footage / "again" / file.name).write_bytes(file.read_bytes())
    table = tmp_path / "sentences.csv"
    table.write_text('video,object,sentence\nclip,1,"a box, moving"\nfilm,1,a box\n')
    arguments = ["--from", "png", "--labels", labels, "--videos", footage, "--sentences", table]
    assert run("own", "init", tmp_path / "own", *arguments) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "own").rglob("*") if path.is_file()}
    result = results / "clip"
    content = json.loads((result / "result.json").read_text()) | {"video": "again"}
    write_json(content, result / "result.json")
    corrected = result / "masks/00"
    corrected.mkdir(parents=True)
    for at in range(T):
        Image.fromarray(np.uint8(255) * (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) < at)).save(
            corrected / f"{at:05d}.png"
        )
    more = ["--from", "segment", "--labels", result, "--videos", footage]
    assert run("own", "add", tmp_path / "own", *more) == 0
    found = staged_masks(tmp_path / "own", "train")
    assert [mask.sum() for mask in found["again", "the moving box"]] == [0, 1, 2, 3, 4]
    assert (np.stack(found["again", "both of them"]) == masks["both of them"]).all()
    table_file = tmp_path / "own/train/expressions.csv"
    assert {path for path, content in before.items() if path.read_bytes() != content} == {table_file}
    assert run("own", "add", tmp_path / "own", *more) == 2
    assert "has again already" in capsys.readouterr().err


def test_some_frames_of_a_film_become_a_video_of_their_own(footage, box, tmp_path) -> None:
    labels = tmp_path / "labels"
    for name, frames in (("film", (0, 1, 3, 4)), ("clip", (0, 2, 3, 4))):
        (labels / name).mkdir(parents=True)
        for at in frames:
            Image.fromarray(np.roll(box, at, axis=1).astype(np.uint8)).save(labels / name / f"{at:05d}.png")
    table = tmp_path / "sentences.csv"
    table.write_text("video,object,sentence\nclip,1,a box\nfilm,1,a box\n")
    arguments = ["--from", "png", "--labels", labels, "--videos", footage, "--sentences", table, "--held-out", "clip"]
    assert run("own", "init", tmp_path / "own", *arguments) == 0
    assert sorted(path.name for path in (tmp_path / "own/train/JPEGImages/film").iterdir()) == [
        "00000.jpg", "00001.jpg", "00003.jpg", "00004.jpg",
    ]  # fmt: skip
    assert (np.stack(staged_masks(tmp_path / "own", "train")["film", "a box"])[2] == np.roll(box, 3, axis=1)).all()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["clip,1,a box"], "no sentence about film"),
        (["clip,1,a box", "film,1,a box", "dog,1,a dog"], "speaks of dog"),
        (["clip,9,a box", "film,1,a box"], "is about 9 of clip"),
        (["clip,1,a [SEG] box", "film,1,a box"], "line 2"),
        (["clip.mov,1,a box", "film.mp4,1,a box", "other.MP4,1,a box"], "speaks of other,"),
        (["clip,1,a, box", "film,1,a box"], "stands in quotes"),
    ],
)
def test_bad_sentences_write_nothing(footage, box, tmp_path, capsys, rows, said) -> None:
    for name in ("clip", "film"):
        (tmp_path / "labels" / name).mkdir(parents=True)
        for at in range(T):
            Image.fromarray(box.astype(np.uint8)).save(tmp_path / "labels" / name / f"{at:05d}.png")
    table = tmp_path / "sentences.csv"
    table.write_text("\n".join(["video,object,sentence", *rows]))
    arguments = ["--from", "png", "--labels", tmp_path / "labels", "--videos", footage, "--sentences", table]
    assert run("own", "init", tmp_path / "own", *arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["footage", "labels", "sentences.csv"]


def test_a_video_in_two_files_and_an_object_that_is_never_seen_write_nothing(footage, tmp_path, capsys) -> None:
    track = '<track id="0" label="cup"><polygon frame="0" points="4,2;10,2;10,6" outside="{}"/></track>'
    files = [tmp_path / name for name in ("a/clip.xml", "b/clip.xml", "b/film.xml")]
    for file, outside in zip(files, (0, 1, 0), strict=True):
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"<annotations>{track.format(outside)}</annotations>")
    for labels, said in (
        (files[:2], "clip is labelled twice. Keep one of the two, or, where they are parts, export them as one."),
        (files[1:], "clip: 'cup' is about what is drawn in no frame."),
    ):
        named = [word for file in labels for word in ("--labels", file)]
        assert run("own", "init", tmp_path / "own", "--from", "cvat", *named, "--videos", footage) == 2
        assert said in " ".join(capsys.readouterr().err.split())
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "footage"]


def test_values_of_a_picture_are_the_ways_in_which_objects_overlap(videos: VideoFolder) -> None:
    line = np.zeros((3, HEIGHT, WIDTH), dtype=bool)
    line[0, 0, :4] = line[1, 0, 2:6] = line[2, 0, 3] = True
    tracks = tuple(AnnotatedTrack(str(at), "", {0: encode_rle(mask)}) for at, mask in enumerate(line))
    regions = Regions(AnnotatedVideo("clip", videos.find("clip", "")[1], (0,), tracks))
    picture = regions.picture(0)
    assert len({int(value) for value in picture[0, :6]}) == 4
    assert all((np.isin(picture, regions.of([at])) == mask).all() for at, mask in enumerate(line))
    assert (np.isin(picture, regions.of([0, 1])) == line[:2].any(axis=0)).all()


def test_what_is_held_out_depends_on_the_names_alone() -> None:
    names = [f"video{number}" for number in range(8)]
    assert hold_out(names, 0.25) == hold_out(names[::-1], 0.25)
    assert [len(hold_out(names, share)) for share in (0.01, 0.5, 0.99)] == [1, 4, 7]
    assert hold_out(names, 0.25) < hold_out(names, 0.5)


def test_review_begins_where_selector_and_model_disagree(results, footage, tmp_path) -> None:
    first = review([results])[0]
    assert (Path(first.video).stem, first.sentence) == ("film", "the one, that goes")
    assert first.disagreement == pytest.approx(0.7)
    assert run("own", "review", results, "--videos", footage, "-o", tmp_path / "review") == 0
    rows = list(csv.DictReader((tmp_path / "review/review.csv").read_text().splitlines()))
    assert [len(rows), rows[0]["disagreement"], rows[1]["disagreement"]] == [6, "0.700", "0.100"]
    page = (tmp_path / "review/review.html").read_text()
    assert page.count("<img") == 6
    check_page(page)


def test_the_review_fits_a_phone(results, footage, tmp_path) -> None:
    assert run("own", "review", results, "--videos", footage, "-o", tmp_path / "review") == 0
    with on_a_phone(tmp_path / "review/review.html") as page:
        assert page.locator("img").count() == 6


def test_parameters_fine_tune_a_copy_that_no_step_deletes(
    results, footage, root, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text())
    (tmp_path / "models/glus/final").mkdir(parents=True)
    (tmp_path / "models/glus/final/config.json").write_text("{}")
    assert init(results, footage, Path("data/own")) == 0
    assert run("own", "params", "data/own", "--model", "models/glus/final", "--steps", "30") == 0
    config = load_config(tmp_path / "params.yaml")
    assert config.model.base == "weights/base"
    assert Path("weights/base/config.json").is_file()
    assert (config.train.total_steps, config.data.evaluation) == (30, ["own/valid"])
    assert run("own", "params", "data/own", "--model", "models/glus/final", "--steps", "50") == 0
    assert run("own", "params", "data/own", "--model", "weights/base") == 0
    (tmp_path / "models/glus/final/config.json").write_text('{"other": 1}')
    assert run("own", "params", "data/own", "--model", "models/glus/final") == 2
    assert "holds another model" in capsys.readouterr().err
