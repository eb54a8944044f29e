"""Each reader against datasets of its published layout: real clips, and small ones made here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glus.config import SyntheticConfig
from glus.errors import InputError
from glus.masks import decode_rle, encode_rle
from glus.records import StagedSplit
from glus.staging.checks import examine
from glus.staging.readers import READERS
from glus.staging.spool import MaskSpool
from glus.staging.synthetic import draw_clip, write_split
from glus.staging.tables import write_tables

NAMES = ["00000", "00005", "00010", "00015"]
LEFT = np.pad(np.ones((8, 6), dtype=bool), ((4, 20), (2, 40)))  # 32 x 48
RIGHT = LEFT[:, ::-1]


def rle(mask: np.ndarray) -> dict[str, Any]:
    return {"size": list(mask.shape), "counts": encode_rle(mask)}


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def staged(dataset: str, root: Path, split: str, target: Path) -> StagedSplit:
    masks = MaskSpool(target.parent)
    examined = examine(dataset, root, split, keep=masks.add)
    assert examined.faults == []
    write_tables(dataset, split, examined, masks, target / dataset / split)
    return StagedSplit(target / dataset / split, root)


def areas(dataset: str, root: Path, split: str) -> dict[tuple[str, str, int], int]:
    rows: list[dict[str, Any]] = []
    assert examine(dataset, root, split, keep=lambda video_id, part: rows.extend(part)).faults == []
    return {(row["video_id"], row["annotation_id"], row["frame_index"]): row["area_px"] for row in rows}


def test_generated_clips_come_back_as_they_were_drawn(synthetic: SyntheticConfig, tmp_path: Path) -> None:
    write_split(synthetic, "train", tmp_path)
    split = staged("synthetic", tmp_path, "train", tmp_path / "staged")
    assert len(split.videos) == sum(synthetic.clips["train"].values())
    for kind, count in synthetic.clips["train"].items():
        for index in range(count):
            scene, sentences, _, masks = draw_clip(synthetic, "train", (kind, index))
            video = split.videos[scene.video_id]
            assert video.grey_frames == scene.grey_frames
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
    mevis = staged("mevis", shared / "realclips/mevis", "train", tmp_path)
    youtube = staged("refer_youtube_vos", shared / "realclips/Refer-YouTube-VOS", "train", tmp_path)
    compared = 0
    for video_id in mevis.videos.keys() & youtube.videos.keys():
        same_text = {expression.text: expression for expression in mevis.expressions[video_id]}
        num_frames = youtube.videos[video_id].num_frames
        assert mevis.videos[video_id].num_frames == num_frames
        for expression in youtube.expressions[video_id]:
            one = mevis.target_masks(same_text[expression.text], range(num_frames))
            assert (one == youtube.target_masks(expression, range(num_frames))).all()
            assert one.any()
            compared += 1
    assert compared >= 20


def test_server_split_of_real_clips_has_no_masks(shared: Path, tmp_path: Path) -> None:
    split = staged("refer_youtube_vos", shared / "realclips/Refer-YouTube-VOS", "valid", tmp_path)
    assert not split.has_masks
    assert all(not expression.annotation_ids for group in split.expressions.values() for expression in group)
    video, expressions = next((split.videos[name], group) for name, group in split.expressions.items())
    assert not split.target_masks(expressions[0], range(video.num_frames)).any()


@pytest.mark.parametrize(
    ("split", "name"), [("train", "meta_expressions_v2.json"), ("valid", "meta_expressions_v2_release.json")]
)
def test_mevis_v2_names_and_sentences_without_target(
    tmp_path: Path, write_frames: Callable[..., None], split: str, name: str
) -> None:
    write_frames(tmp_path / split / "JPEGImages/0f", NAMES)
    ids = ({"obj_id": [0], "anno_id": [5]}, {"obj_id": [], "anno_id": []}) if split == "train" else ({}, {})
    expressions = {str(number): {"exp": f"thing {number}", **extra} for number, extra in enumerate(ids)}
    write_json(tmp_path / split / name, {"videos": {"0f": {"expressions": expressions, "frames": NAMES}}})
    if split == "train":
        write_json(tmp_path / split / "mask_dict.json", {"5": [rle(LEFT), None, rle(RIGHT), None], "6": []})
    examined = examine("mevis", tmp_path, split)
    assert [expression.annotation_ids for expression in examined.raw.expressions] == (
        [("5",), ()] if split == "train" else [(), ()]
    )
    assert areas("mevis", tmp_path, split) == ({("0f", "5", 0): 48, ("0f", "5", 2): 48} if split == "train" else {})


def youtube_lists(root: Path, split: str, expressions: dict[str, Any]) -> None:
    videos = {"vid": {"expressions": expressions, "frames": NAMES}}
    write_json(root / f"meta_expressions/{split}/meta_expressions.json", {"videos": videos})


def test_ground_truth_of_youtube_valid_is_a_folder_per_expression(
    tmp_path: Path, write_frames: Callable[..., None], write_pngs: Callable[..., None]
) -> None:
    youtube_lists(tmp_path, "valid", {"0": {"exp": "left one"}, "1": {"exp": "right one"}})
    write_frames(tmp_path / "valid/JPEGImages/vid", NAMES)
    write_pngs(tmp_path / "valid/Annotations/vid/0", dict.fromkeys(NAMES, LEFT * 255))
    write_pngs(tmp_path / "valid/Annotations/vid/1", dict.fromkeys(NAMES, RIGHT * 255))
    split = staged("refer_youtube_vos", tmp_path, "valid", tmp_path / "staged")
    for expression, mask in zip(split.expressions["vid"], (LEFT, RIGHT), strict=True):
        assert (split.target_masks(expression, [0, 3]) == mask).all()


def test_youtube_valid_without_the_test_list(tmp_path: Path, write_frames: Callable[..., None]) -> None:
    """The official 507 with 202 on disk: the others are skipped; any other number is a fault."""
    listed = {f"{number:03d}": {"expressions": {"0": {"exp": "x"}}, "frames": NAMES} for number in range(507)}
    write_json(tmp_path / "meta_expressions/valid/meta_expressions.json", {"videos": listed})
    for number in range(202):
        (tmp_path / f"valid/JPEGImages/{number:03d}").mkdir(parents=True)
    raw = READERS["refer_youtube_vos"].load(tmp_path, "valid")
    assert (len(raw.videos), len(raw.expressions), len(raw.faults)) == (202, 202, 305)
    assert {fault.severity for fault in raw.faults} == {"warning"}
    (tmp_path / "valid/JPEGImages/000").rmdir()
    assert len(READERS["refer_youtube_vos"].load(tmp_path, "valid").videos) == 507


def test_davis_masks_have_object_numbers_and_void(
    tmp_path: Path, write_frames: Callable[..., None], write_pngs: Callable[..., None]
) -> None:
    youtube_lists(tmp_path, "valid", {"0": {"exp": "a dog", "obj_id": "1"}, "4": {"exp": "a cat", "obj_id": "2"}})
    write_frames(tmp_path / "valid/JPEGImages/vid", NAMES)
    void = np.zeros(LEFT.shape, dtype=np.uint8)
    void[0] = 255
    write_pngs(tmp_path / "valid/Annotations/vid", dict.fromkeys(NAMES, LEFT * 1 + RIGHT * 2 + void))
    assert areas("ref_davis17", tmp_path, "valid") == {
        ("vid", value, index): 48 for value in ("1", "2") for index in range(4)
    }


def test_revos_has_slashes_in_ids_and_kinds_of_expressions(tmp_path: Path, write_frames: Callable[..., None]) -> None:
    video_id = "UVO/all/-CiPki3XuVI"
    write_frames(tmp_path / "JPEGImages" / video_id, NAMES)
    expressions = {
        "0": {"exp": "the dog", "obj_id": [1], "anno_id": [3003019], "type_id": 0},
        "1": {"exp": "who barks?", "obj_id": [1, 2], "anno_id": [3003019, 3003020], "type_id": 1},
        "2": {"exp": "the whale", "obj_id": [], "anno_id": [], "type_id": 2},
    }
    record = {"vid_id": 0, "height": 32, "width": 48, "frames": NAMES, "expressions": expressions}
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
def test_lvvis_lists_lie_in_the_split_or_beside_it(
    tmp_path: Path, write_frames: Callable[..., None], folder: str
) -> None:
    write_frames(tmp_path / "train/JPEGImages/00005", NAMES)
    expressions = {"0": {"exp": "bow_(weapon)", "obj_id": [1, 2], "anno_id": [1, 2]}}
    write_json(
        tmp_path / folder / "meta_expressions.json",
        {"videos": {"00005": {"expressions": expressions, "frames": NAMES}}},
    )
    write_json(tmp_path / folder / "mask_dict.json", {"1": [rle(LEFT)] * 4, "2": [None] * 3 + [rle(RIGHT)]})
    split = staged("lvvis", tmp_path, "train", tmp_path / "staged")
    (expression,) = split.expressions["00005"]
    assert expression.text == "bow (weapon)"
    assert (split.target_masks(expression, [0, 3]) == [LEFT, LEFT | RIGHT]).all()


def test_reasonvos_repeats_expression_numbers(
    tmp_path: Path, write_frames: Callable[..., None], write_pngs: Callable[..., None]
) -> None:
    write_frames(tmp_path / "JPEGImages/a_b", NAMES)
    expressions = [
        {"obj_id": "000000007", "exp_id": "0", "exp_text": "which one is left?", "is_sent": True},
        {"obj_id": "000000007", "exp_id": "1", "exp_text": "left", "is_sent": False},
        {"obj_id": "000000009", "exp_id": "0", "exp_text": "right", "is_sent": False},
    ]
    record = {"source": "VIPSeg", "frames": NAMES, "expressions": expressions}
    write_json(tmp_path / "meta_expressions.json", {"videos": {"a_b": record}})
    write_pngs(tmp_path / "Annotations/vipseg_a_b_000000007", dict.fromkeys(NAMES, LEFT * 255))
    write_pngs(tmp_path / "Annotations/vipseg_a_b_000000009", dict.fromkeys(NAMES, RIGHT * 255))
    split = staged("reasonvos", tmp_path, "test", tmp_path / "staged")
    listed = split.expressions["a_b"]
    assert [item.expression_id for item in listed] == ["000000007_0", "000000007_1", "000000009_0"]
    assert [item.family for item in listed] == ["sentence", "phrase", "phrase"]
    for expression, mask in zip(listed, (LEFT, LEFT, RIGHT), strict=True):
        assert (split.target_masks(expression, [2]) == mask).all()
    with pytest.raises(InputError, match="one split"):
        examine("reasonvos", tmp_path, "train")


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_own_videos(
    tmp_path: Path, write_frames: Callable[..., None], write_pngs: Callable[..., None], kind: str
) -> None:
    write_frames(tmp_path / "mine/JPEGImages/cat", NAMES)
    write_frames(tmp_path / "mine/JPEGImages/street", NAMES)
    write_pngs(tmp_path / "mine/Annotations/cat", dict.fromkeys(NAMES, LEFT * 1 + RIGHT * 2))
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


def test_own_videos_without_frames_are_named(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/expressions.csv").write_text("video,expression,objects\ncat,a cat,1\n")
    (fault,) = examine("own", tmp_path, "mine").faults
    assert (fault.severity, fault.file) == ("error", "mine/JPEGImages/cat")
    (tmp_path / "mine/expressions.csv").write_text("video,sentence\ncat,a cat\n")
    with pytest.raises(InputError, match="video, expression, objects"):
        examine("own", tmp_path, "mine")
