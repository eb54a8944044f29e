"""Each reader against datasets of its published layout: real clips, and small ones made here."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from raw_sets import (
    FRAMES,
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    areas_of,
    edit_json,
    faults_of,
    rle,
    staged,
    write_frames,
    write_json,
    write_mevis,
    write_pngs,
)

from glus.config import SyntheticConfig
from glus.errors import InputError
from glus.masks import decode_rle
from glus.staging.checks import examine
from glus.staging.faults import errors
from glus.staging.files.video_files import has_to_be_unpacked, unpack_videos
from glus.staging.raw import Reader
from glus.staging.readers import davis_texts, revos
from glus.staging.readers.registry import READERS
from glus.staging.synthetic import draw_clip, write_split


def test_generated_clips_come_back_as_they_were_drawn(synthetic: SyntheticConfig, tmp_path: Path) -> None:
    write_split(synthetic, "train", tmp_path)
    split = staged("synthetic", tmp_path, "train", tmp_path / "staged")
    assert len(split.videos) == sum(synthetic.clips["train"].values())
    for kind, count in synthetic.clips["train"].items():
        for index in range(count):
            scene, sentences, _, masks = draw_clip(synthetic, "train", (kind, index))
            video = split.videos[scene.video_id]
            # what was glimpsed stays where it was, so its grey frames are not ambiguous
            assert video.ambiguous_frames == (() if kind == "glimpsed" else scene.grey_frames)
            assert split.frame_path(video, 3).is_file()
            for sentence, expression in zip(sentences, split.expressions[scene.video_id], strict=True):
                assert (expression.text, expression.family) == (sentence.text, sentence.family)
                target = split.target_masks(expression, range(video.num_frames))
                assert (target == masks[list(sentence.objects)].any(axis=0)).all()


def test_tables_do_not_depend_on_the_order_of_the_mask_file(synthetic: SyntheticConfig, tmp_path: Path) -> None:
    write_split(synthetic, "test", tmp_path)
    first = staged("synthetic", tmp_path, "test", tmp_path / "first")
    path = tmp_path / "test/mask_dict.json"
    write_json(path, dict(reversed(json.loads(path.read_text()).items())))
    second = staged("synthetic", tmp_path, "test", tmp_path / "second")
    for table in ("videos", "expressions", "masks"):
        one, two = ((split.directory / f"{table}.parquet").read_bytes() for split in (first, second))
        assert one == two


def test_real_clips_are_the_same_in_both_layouts(shared: Path, tmp_path: Path) -> None:
    mevis, youtube = (
        [
            staged(dataset, shared / "realclips" / folder, name, tmp_path)
            for name in READERS[dataset].splits(shared / "realclips" / folder)
        ]
        for dataset, folder in (("mevis", "mevis"), ("refer_youtube_vos", "Refer-YouTube-VOS"))
    )
    if not mevis or not youtube:
        pytest.skip("no real clips in both layouts")
    masked = 0
    clips = {video_id: split for split in mevis for video_id in split.videos}
    for split in youtube:
        for video_id, video in split.videos.items():
            other = clips[video_id]
            assert (other.videos[video_id].num_frames, other.videos[video_id].height_px) == (
                video.num_frames,
                video.height_px,
            )
            same_text = {expression.text: expression for expression in other.expressions[video_id]}
            for expression in split.expressions[video_id]:
                if not split.has_masks:
                    assert expression.text in same_text
                    continue
                one = other.target_masks(same_text[expression.text], range(video.num_frames))
                assert (one == split.target_masks(expression, range(video.num_frames))).all()
                masked += one.any()
    assert masked


def test_a_server_split_has_no_masks(tmp_path: Path) -> None:
    youtube_lists(tmp_path, "valid", {"0": {"exp": "left one"}})
    write_frames(tmp_path / "valid/JPEGImages/vid")
    split = staged("refer_youtube_vos", tmp_path, "valid", tmp_path / "staged")
    assert not split.has_masks
    ((expression,),) = split.expressions.values()
    assert expression.annotation_ids == ()
    assert not split.target_masks(expression, range(4)).any()


@pytest.mark.parametrize(
    ("split", "name"), [("train", "meta_expressions_v2.json"), ("valid", "meta_expressions_v2_release.json")]
)
def test_mevis_v2_names_and_sentences_without_target(tmp_path: Path, split: str, name: str) -> None:
    write_frames(tmp_path / split / "JPEGImages/0f")
    ids = ({"obj_id": [0], "anno_id": [5]}, {"obj_id": [], "anno_id": []}) if split == "train" else ({}, {})
    expressions = {str(number): {"exp": f"thing {number}", **extra} for number, extra in enumerate(ids)}
    write_json(tmp_path / split / name, {"videos": {"0f": {"expressions": expressions, "frames": FRAMES}}})
    if split == "train":
        write_json(tmp_path / split / "mask_dict.json", {"5": [rle(LEFT), None, rle(RIGHT), None], "6": []})
    raw = examine("mevis", tmp_path, split).raw
    assert raw.release == "v2"
    assert [expression.annotation_ids for expression in raw.expressions] == (
        [("5",), ()] if split == "train" else [(), ()]
    )
    assert areas_of("mevis", tmp_path, split) == ({("0f", "5", 0): 48, ("0f", "5", 2): 48} if split == "train" else {})


def youtube_lists(root: Path, split: str, expressions: dict[str, Any]) -> None:
    videos = {"vid": {"expressions": expressions, "frames": FRAMES}}
    write_json(root / f"meta_expressions/{split}/meta_expressions.json", {"videos": videos})


def test_ground_truth_of_youtube_valid_is_a_folder_per_expression(tmp_path: Path) -> None:
    youtube_lists(tmp_path, "valid", {"0": {"exp": "left one"}, "1": {"exp": "right one"}})
    write_frames(tmp_path / "valid/JPEGImages/vid")
    write_pngs(tmp_path / "valid/Annotations/vid/0", dict.fromkeys(FRAMES, LEFT * 255))
    write_pngs(tmp_path / "valid/Annotations/vid/1", dict.fromkeys(FRAMES, RIGHT * 255))
    split = staged("refer_youtube_vos", tmp_path, "valid", tmp_path / "staged")
    for expression, mask in zip(split.expressions["vid"], (LEFT, RIGHT), strict=True):
        assert (split.target_masks(expression, [0, 3]) == mask).all()


def test_youtube_valid_without_the_test_list(tmp_path: Path) -> None:
    """The official 507 with 202 on disk: the others are skipped; any other number is a fault."""
    listed = {f"{number:03d}": {"expressions": {"0": {"exp": "x"}}, "frames": FRAMES} for number in range(507)}
    write_json(tmp_path / "meta_expressions/valid/meta_expressions.json", {"videos": listed})
    for number in range(202):
        (tmp_path / f"valid/JPEGImages/{number:03d}").mkdir(parents=True)
    raw = READERS["refer_youtube_vos"].load(tmp_path, "valid")
    assert (len(raw.videos), len(raw.expressions), len(raw.faults)) == (202, 202, 305)
    assert {fault.severity for fault in raw.faults} == {"warning"}
    (tmp_path / "valid/JPEGImages/000").rmdir()
    assert len(READERS["refer_youtube_vos"].load(tmp_path, "valid").videos) == 507


def test_davis_masks_have_object_numbers_and_void(tmp_path: Path) -> None:
    youtube_lists(tmp_path, "valid", {"0": {"exp": "a dog", "obj_id": "1"}, "4": {"exp": "a cat", "obj_id": "2"}})
    write_frames(tmp_path / "valid/JPEGImages/vid")
    void = np.zeros(LEFT.shape, dtype=np.uint8)
    void[0] = 255
    write_pngs(tmp_path / "valid/Annotations/vid", dict.fromkeys(FRAMES, LEFT * 1 + RIGHT * 2 + void))
    assert areas_of("ref_davis17", tmp_path, "valid") == {
        ("vid", value, index): 48 for value in ("1", "2") for index in range(4)
    }


def test_revos_has_slashes_in_ids_and_kinds_of_expressions(tmp_path: Path) -> None:
    video_id = "UVO/all/-CiPki3XuVI"
    write_frames(tmp_path / "JPEGImages" / video_id)
    expressions = {
        "0": {"exp": "the dog", "obj_id": [1], "anno_id": [3003019], "type_id": 0},
        "1": {"exp": "who barks?", "obj_id": [1, 2], "anno_id": [3003019, 3003020], "type_id": 1},
        "2": {"exp": "the whale", "obj_id": [], "anno_id": [], "type_id": 2},
    }
    record = {"vid_id": 0, "height": 32, "width": 48, "frames": FRAMES, "expressions": expressions}
    write_json(tmp_path / "meta_expressions_valid_.json", {"videos": {video_id: record}})
    write_json(
        tmp_path / "mask_dict.json",
        {"1": [None] * 9, "3003019": [rle(LEFT)] * 4, "3003020": [None, rle(RIGHT), None, None]},
    )
    split = staged("revos", tmp_path, "valid", tmp_path / "staged")
    dog, barks, whale = split.expressions[video_id]
    assert [item.family for item in (dog, barks, whale)] == ["referring", "reasoning", "absent"]
    assert (split.target_masks(barks, [0, 1]) == [LEFT, LEFT | RIGHT]).all()
    assert not split.target_masks(whale, [0]).any()
    assert split.frame_path(split.videos[video_id], 1).is_file()


@pytest.mark.parametrize("folder", ["train", "."])
def test_lvvis_lists_lie_in_the_split_or_beside_it(tmp_path: Path, folder: str) -> None:
    write_frames(tmp_path / "train/JPEGImages/00005")
    expressions = {"0": {"exp": "bow_(weapon)", "obj_id": [1, 2], "anno_id": [1, 2]}}
    write_json(
        tmp_path / folder / "meta_expressions.json",
        {"videos": {"00005": {"expressions": expressions, "frames": FRAMES}}},
    )
    write_json(tmp_path / folder / "mask_dict.json", {"1": [rle(LEFT)] * 4, "2": [None] * 3 + [rle(RIGHT)]})
    split = staged("lvvis", tmp_path, "train", tmp_path / "staged")
    (expression,) = split.expressions["00005"]
    assert expression.text == "bow (weapon)"
    assert (split.target_masks(expression, [0, 3]) == [LEFT, LEFT | RIGHT]).all()


def test_two_lists_of_lvvis_are_two_answers(tmp_path: Path) -> None:
    listed = {"videos": {"00005": {"frames": FRAMES, "expressions": {"0": {"exp": "cat", "anno_id": [1]}}}}}
    for folder in (".", "train"):
        write_json(tmp_path / folder / "meta_expressions.json", listed)
    assert "two lists, train/meta_expressions.json and meta" in errors(faults_of("lvvis", tmp_path))[0].problem


def test_reasonvos_repeats_expression_numbers(tmp_path: Path) -> None:
    write_frames(tmp_path / "JPEGImages/a_b")
    expressions = [
        {"obj_id": "000000007", "exp_id": "0", "exp_text": "which one is left?", "is_sent": True},
        {"obj_id": "000000007", "exp_id": "1", "exp_text": "left", "is_sent": False},
        {"obj_id": "000000009", "exp_id": "0", "exp_text": "right", "is_sent": False},
    ]
    record = {"source": "VIPSeg", "frames": FRAMES, "expressions": expressions}
    write_json(tmp_path / "meta_expressions.json", {"videos": {"a_b": record}})
    write_pngs(tmp_path / "Annotations/vipseg_a_b_000000007", dict.fromkeys(FRAMES, LEFT * 255))
    write_pngs(tmp_path / "Annotations/vipseg_a_b_000000009", dict.fromkeys(FRAMES, RIGHT * 255))
    split = staged("reasonvos", tmp_path, "test", tmp_path / "staged")
    listed = split.expressions["a_b"]
    assert [item.expression_id for item in listed] == ["000000007_0", "000000007_1", "000000009_0"]
    assert [item.family for item in listed] == ["sentence", "phrase", "phrase"]
    for expression, mask in zip(listed, (LEFT, LEFT, RIGHT), strict=True):
        assert (split.target_masks(expression, [2]) == mask).all()
    with pytest.raises(InputError, match="one split"):
        examine("reasonvos", tmp_path, "train")


def write_long_rvos(root: Path) -> None:
    """Two sentences about one object, which two of four frames show, and one about another."""
    write_frames(root / "valid/JPEGImages/a")
    sentences = {"0": ("left", 3, "static"), "1": ("it goes right", 3, "dynamic"), "2": ("right", 5, "hybrid")}
    expressions = {
        name: {"exp": text, "obj_id": number, "type": kind} for name, (text, number, kind) in sentences.items()
    }
    write_json(root / "valid/meta_expressions.json", {"videos": {"a": {"frames": FRAMES, "expressions": expressions}}})
    write_pngs(root / "valid/Annotations/a/3", dict.fromkeys(FRAMES[1:3], LEFT * 255))
    write_pngs(root / "valid/Annotations/a/5", dict.fromkeys(FRAMES, RIGHT * 255))


def test_long_rvos_has_no_files_where_an_object_is_not_seen(tmp_path: Path) -> None:
    write_long_rvos(tmp_path)
    assert READERS["long_rvos"].splits(tmp_path) == ["valid"]
    split = staged("long_rvos", tmp_path, "valid", tmp_path / "staged")
    listed = split.expressions["a"]
    assert [item.family for item in listed] == ["static", "dynamic", "hybrid"]
    assert [item.annotation_ids for item in listed] == [("3",), ("3",), ("5",)]
    shown = [split.target_masks(item, range(4)) for item in listed]
    assert [mask.any() for mask in shown[0]] == [False, True, True, False]
    assert (shown[1] == shown[0]).all() and (shown[2] == RIGHT).all()


def test_long_rvos_faults(tmp_path: Path) -> None:
    write_long_rvos(tmp_path)
    shutil.rmtree(tmp_path / "valid/Annotations/a/5")
    edit_json(
        tmp_path / "valid/meta_expressions.json",
        lambda content: content["videos"]["a"]["expressions"]["1"].update(type="other"),
    )
    found = faults_of("long_rvos", tmp_path, "valid")
    assert "valid/Annotations/a/5 does not exist" in errors(found)[0].problem
    assert any("has the type 'other', expected static, dynamic, hybrid" in fault.problem for fault in found)


def test_long_rvos_without_annotations_is_a_servers_split(tmp_path: Path) -> None:
    write_long_rvos(tmp_path)
    shutil.rmtree(tmp_path / "valid/Annotations")
    assert faults_of("long_rvos", tmp_path, "valid") == []
    assert examine("long_rvos", tmp_path, "valid").raw.masks is None


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_own_videos(tmp_path: Path, kind: str) -> None:
    write_frames(tmp_path / "mine/JPEGImages/cat")
    write_frames(tmp_path / "mine/JPEGImages/street")
    write_pngs(tmp_path / "mine/Annotations/cat", dict.fromkeys(FRAMES, LEFT * 1 + RIGHT * 2))
    if kind == "csv":
        rows = 'video,expression,objects\ncat,both cats,1 2\ncat,"the one, right",2\nstreet,the car,\n'
        (tmp_path / "mine/expressions.csv").write_text(rows)
    else:
        said = (("cat", "both cats", [1, 2]), ("cat", "the one, right", [2]), ("street", "the car", []))
        keys = ("video", "expression", "objects")
        write_json(tmp_path / "mine/expressions.json", [dict(zip(keys, row, strict=True)) for row in said])
    split = staged("own", tmp_path, "mine", tmp_path / "staged")
    both, right = split.expressions["cat"]
    assert right.text == "the one, right"
    assert (split.target_masks(both, [0]) == LEFT | RIGHT).all()
    assert (split.target_masks(right, [0]) == RIGHT).all()
    assert [item.text for item in split.expressions["street"]] == ["the car"]
    assert decode_rle(split.mask_rles("cat")["1"][0], 32, 48).sum() == 48


def test_revos_foreground_follows_from_the_staged_masks(tmp_path: Path) -> None:
    """The union of the annotations that a video's expressions use; others of the mask file are no part of it."""
    write_frames(tmp_path / "JPEGImages/clip")
    expressions = {str(k): {"exp": "it", "obj_id": [k], "anno_id": [k], "type_id": 0} for k in (1, 2)}
    write_json(tmp_path / revos_list("train"), {"videos": {"clip": {"frames": FRAMES, "expressions": expressions}}})
    tracks = {"1": [rle(LEFT)] * 4, "2": [rle(RIGHT)] * 4, "3": [rle(~LEFT)] * 4}
    write_json(tmp_path / "mask_dict.json", tracks)
    split = staged("revos", tmp_path, "train", tmp_path / "staged")
    foreground = np.any([decode_rle(track[0], *LEFT.shape) for track in split.mask_rles("clip").values()], axis=0)
    assert (foreground == LEFT | RIGHT).all()


def revos_list(split: str) -> str:
    return f"meta_expressions_{split}_.json"


def test_an_unknown_kind_of_revos_is_found_before_it_is_scored(tmp_path: Path) -> None:
    write_frames(tmp_path / "JPEGImages/clip")
    spoken = {"0": {"exp": "it", "obj_id": [1], "anno_id": [1], "type_id": 7}}
    write_json(tmp_path / revos_list("valid"), {"videos": {"clip": {"frames": FRAMES, "expressions": spoken}}})
    write_json(tmp_path / "mask_dict.json", {"1": [rle(LEFT)] * 4})
    (fault,) = [fault for fault in faults_of("revos", tmp_path, "valid") if fault.severity == "error"]
    assert "clip expression 0 has type_id 7, known are 0, 1, 2" in fault.problem


def test_masks_of_0_and_255_are_told_to_be_void(tmp_path: Path) -> None:
    write_own(tmp_path, "cat,a cat,1\n")
    write_pngs(tmp_path / "mine/Annotations/cat", dict.fromkeys(FRAMES, LEFT * 255))
    (fault,) = errors(faults_of("own", tmp_path, "mine"))
    assert "the masks of cat in mine/Annotations/cat hold no object, but 0 and 255 alone" in fault.problem
    assert "Write the object's number in place of 255" in fault.action


def test_a_frame_that_is_no_picture_is_told_without_addresses(tmp_path: Path) -> None:
    write_own(tmp_path, "cat,a cat,\n")
    (tmp_path / "mine/JPEGImages/cat/00005.jpg").write_bytes(b"no picture")
    (fault,) = errors(faults_of("own", tmp_path, "mine"))
    assert "0x" not in fault.problem


def test_revos_releases_are_told_apart_by_their_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_frames(tmp_path / "JPEGImages/clip")
    spoken = {"0": {"exp": "it", "obj_id": [1], "anno_id": [1], "type_id": 7}}
    path = tmp_path / revos_list("train")
    write_json(path, {"videos": {"clip": {"frames": FRAMES, "expressions": spoken}}})
    write_json(tmp_path / "mask_dict.json", {"1": [rle(LEFT)] * 4})
    (unknown_kind,) = faults_of("revos", tmp_path)
    assert (unknown_kind.severity, "type_id 7" in unknown_kind.problem) == ("warning", True)
    beginning = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(revos.RELEASES, beginning, "before 10 July 2024")
    assert any("replaced within days" in fault.problem for fault in faults_of("revos", tmp_path))


# ---------------------------------------------------------------- LV-VIS as published


def write_instances(root: Path, **changes: Any) -> None:
    """A video of two categories: three instances, of which one is a polygon and one has uncompressed runs."""
    names = [f"train\\00005\\{name}.jpg" for name in FRAMES]
    square = [[2, 4, 8, 4, 8, 12, 2, 12]]
    runs = {"size": [32, 48], "counts": [LEFT.size]}
    content = {
        "videos": [{"id": 5, "file_names": names, "height": 32, "width": 48, "length": 4}],
        "categories": [{"id": 3, "name": "bow_(weapon)"}, {"id": 8, "name": "cat"}],
        "annotations": [
            {"id": 11, "video_id": 5, "category_id": 8, "iscrowd": 0, "segmentations": [rle(LEFT), None, runs, None]},
            {"id": 12, "video_id": 5, "category_id": 3, "iscrowd": 0, "segmentations": [square] * 4},
            {"id": 13, "video_id": 5, "category_id": 8, "iscrowd": 0, "segmentations": [rle(RIGHT)] * 4},
        ],
    }
    write_json(root / "train_instances.json", content | changes)


@pytest.mark.parametrize("images", ["train", "train/JPEGImages"])
def test_lvvis_instances_are_an_expression_per_category(tmp_path: Path, images: str) -> None:
    write_instances(tmp_path)
    write_frames(tmp_path / images / "00005")
    split = staged("lvvis", tmp_path, "train", tmp_path / "staged")
    bow, cats = split.expressions["00005"]
    assert [(item.expression_id, item.text) for item in (bow, cats)] == [("3", "bow (weapon)"), ("8", "cat")]
    assert (split.target_masks(bow, [1]) == LEFT).all()
    assert (split.target_masks(cats, [0, 2]) == [LEFT | RIGHT, RIGHT]).all()
    assert split.frame_path(split.videos["00005"], 3).is_file()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotations": []}, "no list 'annotations'"),
        ({"videos": {"5": []}}, "no list 'videos'"),
        ({"annotations": [{"id": "x", "video_id": 5, "category_id": 8}]}, "entry 0 of annotations has no usable id"),
        ({"categories": [{"id": 8, "name": ["cat"]}]}, "entry 0 of categories has no usable name"),
        ({"categories": [{"id": 8, "name": "cat"}]}, "category 3, which has no name"),
        ({"videos": [{"id": 5, "file_names": ["a/0.jpg", "b/1.jpg"]}]}, "do not name the frames of one folder"),
        ({"videos": [{"id": 5, "file_names": ["..\\..\\0.jpg"]}]}, "leads out of the dataset's folder"),
        (
            {"categories": [{"id": 3, "name": "bow"}, {"id": 8, "name": "cat"}, {"id": 8, "name": "dog"}]},
            "has the id 8",
        ),
        ({"videos": [{"id": n, "file_names": ["a/00005/00000.jpg"]} for n in (5, 6)]}, "video 00005 is listed 2 times"),
        ({"videos": [{"id": 6, "file_names": ["train/00005/00000.jpg"]}]}, "belong to video 5, which is not listed"),
    ],
)
def test_lvvis_instances_that_cannot_be_used(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    write_instances(tmp_path, **changes)
    write_frames(tmp_path / "train/00005")
    found = faults_of("lvvis", tmp_path)
    assert any(said in fault.problem and fault.severity == "error" for fault in found), found


def test_lvvis_instances_that_are_cut_short(tmp_path: Path) -> None:
    write_instances(tmp_path)
    path = tmp_path / "train_instances.json"
    path.write_text(path.read_text()[:-40])
    (fault,) = faults_of("lvvis", tmp_path)
    assert "not valid JSON" in fault.problem


# ---------------------------------------------------------------- Ref-DAVIS17 as published


def write_davis(root: Path, **texts: str) -> None:
    """Video `motorbike` with ten objects in its masks, of which 2 and 10 are spoken of; misspelt in the texts."""
    write_frames(root / "DAVIS/JPEGImages/480p/motorbike")
    pixels = LEFT * 2 + RIGHT * 10
    write_pngs(root / "DAVIS/Annotations_unsupervised/480p/motorbike", dict.fromkeys(FRAMES, pixels))
    (root / "DAVIS/ImageSets/2017").mkdir(parents=True)
    (root / "DAVIS/ImageSets/2017/val.txt").write_text("motorbike\n")
    for name, encoding in davis_texts.FILES:
        path = root / davis_texts.TEXTS / name
        path.parent.mkdir(exist_ok=True)
        said = "café" if encoding == "latin-1" else name.removesuffix(".txt")
        lines = f'motor-bike 2 "{said} of 2"\nmotor-bike 10 "{said} of 10"\nelsewhere 1 "x"\n'
        path.write_bytes(texts.get(name.removesuffix(".txt"), lines).encode(encoding))


def test_davis_as_published(tmp_path: Path) -> None:
    write_davis(tmp_path)
    assert READERS["ref_davis17"].splits(tmp_path) == ["valid"]
    split = staged("ref_davis17", tmp_path, "valid", tmp_path / "staged")
    listed = split.expressions["motorbike"]
    assert [(item.expression_id, item.object_ids) for item in listed] == [
        *((str(number), ("10",)) for number in range(4)),  # objects are sorted as text
        *((str(number), ("2",)) for number in range(4, 8)),
    ]
    assert [item.text for item in listed[:4]] == [
        "Davis17_annot1 of 10",
        "Davis17_annot1_full_video of 10",
        "café of 10",
        "café of 10",
    ]
    assert (split.target_masks(listed[0], [0]) == RIGHT).all()


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"Davis17_annot2": 'motorbike 2 "x"\n'}, "Davis17_annot2.txt says nothing about object 10 of motorbike"),
        ({"Davis17_annot1": "motorbike two x\n"}, 'not <video> <object> "<sentence>"'),
        ({"Davis17_annot1": 'motorbike 2 "x"\nmotor-bike 2 "y"\nmotorbike 10 "z"\n'}, "object 2 of motorbike twice"),
        ({"Davis17_annot1": 'motorbike 2 ""\nmotorbike 10 "z"\n'}, "motorbike expression 4 is empty"),
    ],
)
def test_davis_texts_that_do_not_fit_together(tmp_path: Path, texts: dict[str, str], said: str) -> None:
    write_davis(tmp_path, **texts)
    found = faults_of("ref_davis17", tmp_path, "valid")
    assert any(said in fault.problem and fault.severity == "error" for fault in found), found


def test_a_video_of_davis_that_is_listed_twice(tmp_path: Path) -> None:
    write_davis(tmp_path)
    (file,) = tmp_path.rglob("val.txt")
    file.write_text(file.read_text() + file.read_text().splitlines()[0] + "\n")
    found = errors(faults_of("ref_davis17", tmp_path, "valid"))
    assert any(fault.problem.endswith("is listed 2 times") for fault in found)


def test_davis_texts_are_all_needed(tmp_path: Path) -> None:
    write_davis(tmp_path)
    (tmp_path / davis_texts.TEXTS / "Davis17_annot2.txt").unlink()
    (tmp_path / davis_texts.TEXTS / "Davis17_annot1.txt").write_bytes(b'motorbike 2 "\xe9"\n')
    problems = [fault.problem for fault in faults_of("ref_davis17", tmp_path, "valid")]
    assert any("Davis17_annot2.txt cannot be read" in problem for problem in problems)
    assert any("Davis17_annot1.txt is not utf-8 text" in problem for problem in problems)


# ---------------------------------------------------------------- ReasonVOS


def test_the_old_release_of_reasonvos_is_refused_once(tmp_path: Path) -> None:
    old = {"source": "MOSE", "is_sent": True, "frames": FRAMES, "expressions": {"0": {"exp_text": "x"}}}
    write_json(tmp_path / "meta_expressions.json", {"videos": {"a": old, "b": old}})
    (fault,) = faults_of("reasonvos", tmp_path, "test")
    assert fault.severity == "error"
    assert "release before 26 December 2024" in fault.problem


@pytest.mark.parametrize(
    ("change", "severity", "said"),
    [
        (lambda video: video.pop("source"), "error", "no obj_id or exp_id, or the video no source"),
        (lambda video: video.update(source=["mose"]), "error", "no obj_id or exp_id, or the video no source"),
        (lambda video: video.update(source="../.."), "error", "lead out of the dataset's folder"),
        (lambda video: video["expressions"][0].update(obj_id="../7"), "error", "lead out of the dataset's folder"),
        (lambda video: video["expressions"].append(video["expressions"][0]), "error", "with exp_id 0 twice"),
        (lambda video: video["expressions"][0].update(exp_text=3), "error", "is a int (3)"),
        (lambda video: video.update(expressions=["x"]), "error", "are not a list of objects"),
        (lambda video: video["frames"].pop(), "warning", "holds 1 frames that meta_expressions.json does not list"),
    ],
)
def test_reasonvos_records(tmp_path: Path, change: Any, severity: str, said: str) -> None:
    write_frames(tmp_path / "JPEGImages/clip")
    write_pngs(tmp_path / "Annotations/mose_clip_7", dict.fromkeys(FRAMES, LEFT * 255))
    spoken = {"obj_id": "7", "exp_id": 0, "exp_text": "the left one", "is_sent": False}
    record = {"source": "MOSE", "frames": FRAMES, "expressions": [spoken]}
    path = tmp_path / "meta_expressions.json"
    write_json(path, {"videos": {"clip": record}})
    assert faults_of("reasonvos", tmp_path, "test") == []
    edit_json(path, lambda content: change(content["videos"]["clip"]) and None)
    found = faults_of("reasonvos", tmp_path, "test")
    assert any(said in fault.problem and fault.severity == severity for fault in found), found


# ---------------------------------------------------------------- your own


def write_own(root: Path, rows: str) -> None:
    write_frames(root / "mine/JPEGImages/cat")
    (root / "mine/expressions.csv").write_text(f"video,expression,objects\n{rows}")


@pytest.mark.parametrize(
    ("rows", "file", "said"),
    [
        ("", "mine/expressions.csv", "has no rows"),
        ("dog,a dog,1\n", "mine/JPEGImages/dog", "does not exist"),
        ("../cat,a cat,1\n", "mine/expressions.csv", "leads out of the dataset's folder"),
        ("cat,,1\n", "mine/expressions.csv", "cat expression 0 is empty"),
        ("cat\n", "mine/expressions.csv", "line 2 of mine/expressions.csv has 1 cells, its header names 3"),
        ("cat,a dog, 2,1\n", "mine/expressions.csv", "has 4 cells, its header names 3: ['cat', 'a dog', '2', '1']"),
        ("cat,the cat\n", "mine/expressions.csv", "has 2 cells, its header names 3"),
        ('cat,"a cat,1\n', "mine/expressions.csv", "has 2 cells, its header names 3"),
        (
            "cat,a cat,1\ncat, a cat ,2\n",
            "mine/expressions.csv",
            "0 and 1 are one sentence ('a cat') about other objects",
        ),
        ("cat,a cat,1\ncat,a cat,1\n", "mine/expressions.csv", "cat expressions 0 and 1 are one sentence"),
        ("cat,a cat,left\n", "mine/expressions.csv", "names the objects 'left', expected pixel values"),
        ("cat,a cat,255\n", "mine/expressions.csv", "from 1 to 254"),
        (f"cat,{'x' * 200_000},1\n", "mine/expressions.csv", "not a table of comma-separated values"),
    ],
)
def test_own_tables_that_cannot_be_used(tmp_path: Path, rows: str, file: str, said: str) -> None:
    write_own(tmp_path, rows)
    found = faults_of("own", tmp_path, "mine")
    assert any(said in fault.problem and fault.file == file for fault in found), found


def test_own_frames_of_other_formats_are_unpacked(tmp_path: Path) -> None:
    write_own(tmp_path, "cat,a cat,1\n")
    folder = tmp_path / "mine/JPEGImages/cat"
    for number, (name, suffix) in enumerate(zip(FRAMES, (".png", ".JPG", ".jpeg", ".webp"), strict=True)):
        (folder / f"{name}.jpg").unlink()
        Image.new("RGB", (WIDTH, HEIGHT), (40 * number, 0, 0)).save(folder / f"{name}{suffix}")
    write_pngs(tmp_path / "mine/Annotations/cat", dict.fromkeys(FRAMES, LEFT * 1))
    examined = examine("own", tmp_path, "mine")
    assert not examined.faults
    assert has_to_be_unpacked(examined.raw.videos[0])
    (video,) = unpack_videos(tmp_path, examined.raw.videos, tmp_path / "staged")
    assert video.frame_names == tuple(FRAMES) and video.frame_dir == "JPEGImages/cat"
    for number, name in enumerate(FRAMES):
        with Image.open(tmp_path / "staged/JPEGImages/cat" / f"{name}.jpg") as image:
            assert image.format == "JPEG" and abs(np.asarray(image)[..., 0].mean() - 40 * number) < 3


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("video,expression,objects\ncat, the blue square,2\n", [("the blue square", ("2",))]),
        ('video, expression ,objects\n\ncat , "a cat, left" , 2 1\n , ,\n', [("a cat, left", ("2", "1"))]),
        ("objects,note,expression,video\n1,,a cat,cat\n", [("a cat", ("1",))]),
        ('video,expression,objects\ncat,a 12" pipe,1\r\n', [('a 12" pipe', ("1",))]),
    ],
)
def test_own_tables_are_cut_at_commas_and_blanks(
    tmp_path: Path, content: str, rows: list[tuple[str, tuple[str, ...]]]
) -> None:
    write_own(tmp_path, "")
    (tmp_path / "mine/expressions.csv").write_text(content)
    examined = examine("own", tmp_path, "mine")
    assert [(item.text, item.object_ids) for item in examined.raw.expressions] == rows
    assert not errors(examined.faults)


def test_two_answers_to_one_question_of_own_data(tmp_path: Path) -> None:
    write_own(tmp_path, "cat,a cat,\n")
    write_film(tmp_path / "mine/Videos/cat.mp4", [np.zeros((32, 48, 3), dtype=np.uint8)] * 5)
    (tmp_path / "mine/expressions.json").write_text("[]")
    said = [fault.problem for fault in errors(faults_of("own", tmp_path, "mine"))]
    assert said == [
        "mine holds expressions.csv and expressions.json, two lists of expressions",
        "the frames of cat lie in mine/JPEGImages/cat and mine/Videos/cat.mp4",
    ]
    (tmp_path / "mine/expressions.json").unlink()
    (tmp_path / "mine/expressions.csv").write_text("video,expression,objects,objects\ncat,a cat,1,2\n")
    assert "has 2 columns 'objects'" in faults_of("own", tmp_path, "mine")[0].problem


def test_own_frames_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_own(tmp_path, "cat,a cat,\n")
    names = [f"frame{number}" for number in (2, 8, 9, 10)]
    for path, name in zip(sorted((tmp_path / "mine/JPEGImages/cat").iterdir()), names, strict=True):
        path.rename(path.with_stem(name))
    (tmp_path / "mine/JPEGImages/cat/notes.txt").touch()
    examined = examine("own", tmp_path, "mine")
    assert examined.raw.videos[0].frame_names == tuple(names)
    (fault,) = examined.faults
    assert fault.severity == "warning" and "1 left out (no pictures): notes.txt" in fault.problem


def test_own_frames_that_are_there_twice(tmp_path: Path) -> None:
    write_own(tmp_path, "cat,a cat,\n")
    write_film(tmp_path / "mine/Videos/cat.MP4", [np.zeros((32, 48, 3), dtype=np.uint8)] * 5)
    (fault,) = faults_of("own", tmp_path, "mine")
    assert fault.severity == "error"
    assert "lie in mine/JPEGImages/cat and mine/Videos/cat.MP4" in fault.problem


def test_own_tables_name_their_columns(tmp_path: Path) -> None:
    write_own(tmp_path, "")
    (tmp_path / "mine/expressions.csv").write_text("video,sentence\ncat,a cat\n")
    (fault,) = faults_of("own", tmp_path, "mine")
    assert "has no expression, objects" in fault.problem


def write_film(path: Path, pictures: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.height, stream.width = pictures[0].shape[:2]
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_own_films_are_unpacked(tmp_path: Path) -> None:
    pictures = [np.full((32, 48, 3), 40 * number, dtype=np.uint8) for number in range(5)]
    write_film(tmp_path / "mine/Videos/street.mp4", pictures)
    write_own(tmp_path, "cat,a cat,1\nstreet,a car,2\n")
    for name, frames in (("cat", FRAMES), ("street", [f"{number:05d}" for number in range(5)])):
        write_pngs(tmp_path / f"mine/Annotations/{name}", dict.fromkeys(frames, LEFT * 1 + RIGHT * 2))
    raw = examine("own", tmp_path, "mine").raw
    videos = list(unpack_videos(tmp_path, raw.videos, tmp_path / "staged"))
    assert [(video.video_id, len(video.frame_names)) for video in videos] == [("cat", 4), ("street", 5)]
    for video in videos:
        for name in video.frame_names:
            with Image.open(tmp_path / "staged" / video.frame_dir / f"{name}.jpg") as image:
                assert image.size == (48, 32)
    with Image.open(tmp_path / "staged" / videos[1].frame_dir / "00003.jpg") as image:
        assert abs(np.asarray(image).mean() - 120) < 8


@pytest.mark.parametrize("kept", [0, 40, 0.9])
def test_own_films_that_are_none(tmp_path: Path, kept: float) -> None:
    film = tmp_path / "mine/Videos/street.mp4"
    write_film(film, [np.zeros((32, 48, 3), dtype=np.uint8)] * 5)
    content = film.read_bytes()
    film.write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
    write_own(tmp_path, "street,a car,\n")
    (fault,) = errors(faults_of("own", tmp_path, "mine"))
    assert (fault.severity, fault.file) == ("error", "mine/Videos/street.mp4")


# ---------------------------------------------------------------- splits


def test_splits_that_lie_there_are_found(tmp_path: Path) -> None:
    write_mevis(tmp_path / "mevis")
    (tmp_path / "mevis/valid").mkdir()
    write_json(tmp_path / "mevis/valid/meta_expressions_v2_release.json", {})
    write_json(tmp_path / "revos" / revos_list("valid"), {})
    write_json(tmp_path / "youtube/meta_expressions/valid/meta_expressions.json", {})
    write_json(tmp_path / "lvvis/val_instances.json", {})
    write_json(tmp_path / "lvvis/meta_expressions.json", {})
    write_json(tmp_path / "reasonvos/meta_expressions.json", {})
    write_own(tmp_path / "own", "cat,a cat,\n")
    found = {
        name: READERS[dataset].splits(tmp_path / name)
        for name, dataset in (
            ("mevis", "mevis"),
            ("revos", "revos"),
            ("youtube", "refer_youtube_vos"),
            ("lvvis", "lvvis"),
            ("reasonvos", "reasonvos"),
            ("own", "own"),
        )
    }
    assert found == {
        "mevis": ["train", "valid"],
        "revos": ["valid"],
        "youtube": ["valid"],
        "lvvis": ["train", "val"],
        "reasonvos": ["test"],
        "own": ["mine"],
    }
    assert all(layout.splits(tmp_path / "nowhere") == [] for layout in READERS.values())


@pytest.mark.parametrize("dataset", READERS)
def test_a_reader_has_all_that_a_reader_has(dataset: str) -> None:
    """They are found by name, so nothing else compares them with the protocol."""
    attributes = {*Reader.__annotations__, "splits", "load"}
    assert {name for name in attributes if not hasattr(READERS[dataset], name)} == set()
    assert READERS[dataset].TREE and READERS[dataset].PUBLISHER


def test_own_videos_that_no_row_names_are_told(tmp_path: Path) -> None:
    write_own(tmp_path, "cat,a cat,\n")
    write_frames(tmp_path / "mine/JPEGImages/dog")
    write_film(tmp_path / "mine/Videos/bird.MP4", [np.zeros((32, 48, 3), dtype=np.uint8)])
    (tmp_path / "mine/Videos/.bird.mp4").touch()
    (fault,) = faults_of("own", tmp_path, "mine")
    assert fault.severity == "warning"
    assert "2 of the videos beside it: mine/JPEGImages/dog; mine/Videos/bird.MP4" in fault.problem
