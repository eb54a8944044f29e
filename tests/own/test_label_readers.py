"""Labels in each form, made by hand: the masks that are read, and what is refused."""

import json
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glus.errors import InputError
from glus.masks import decode_rle, encode_rle
from glus.own.labels import AnnotatedVideo
from glus.own.readers import coco, cvat, label_studio, png
from glus.own.readers.brush import decode_brush
from tests.own.conftest import HEIGHT, WIDTH, T

SQUARE = [4, 2, 10, 2, 10, 6, 4, 6]  # x, y of the corners of the box
NAMES = [f"clip/{number:05d}.jpg" for number in range(T)]


def masks(video: AnnotatedVideo, track: int = 0) -> dict[int, np.ndarray]:
    return {at: decode_rle(counts, HEIGHT, WIDTH) for at, counts in video.tracks[track].masks.items()}


def write(folder: Path, name: str, content) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def coco_video(entries, **more) -> dict:
    return {
        "videos": [{"id": 1, "file_names": NAMES, "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 3, "name": "red_car"}],
        "annotations": [{"id": 7, "video_id": 1, "category_id": 3, "segmentations": entries, **more}],
    }


def test_coco_for_videos_takes_runs_polygons_and_null(videos, box, tmp_path) -> None:
    size = [HEIGHT, WIDTH]
    changes = np.flatnonzero(np.diff(box.T.ravel(), prepend=False)).tolist()
    runs = np.diff([0, *changes, box.size]).tolist()
    entries = [{"size": size, "counts": encode_rle(box)}, {"size": size, "counts": runs}, None, [SQUARE], []]
    (video,) = coco.read(write(tmp_path, "labels.json", coco_video(entries)), videos)
    assert (video.name, video.labelled, video.tracks[0].label) == ("clip", (0, 1, 2, 3, 4), "red_car")
    found = masks(video)
    assert sorted(found) == [0, 1, 3]
    assert all((mask == box).all() for mask in found.values())


def test_coco_for_videos_of_some_frames_of_a_film_with_its_own_sentence(videos, box, tmp_path) -> None:
    content = coco_video([None, {"size": [HEIGHT, WIDTH], "counts": encode_rle(box)}], expression="the noisy box")
    content["videos"][0] |= {"name": "/elsewhere/film.mp4", "file_names": ["00001", "00003"]}
    (video,) = coco.read(write(tmp_path, "labels.json", content), videos)
    assert (video.name, video.labelled) == ("film", (1, 3))
    assert list(masks(video)) == [3]
    assert video.tracks[0].label == "the noisy box"


def test_coco_for_images_joins_what_one_track_has_in_a_frame(videos, box, tmp_path) -> None:
    content = {
        "images": [{"id": at, "file_name": name} for at, name in enumerate(NAMES)],
        "categories": [{"id": 1, "name": "cup"}],
        "annotations": [
            {"id": 0, "image_id": 0, "category_id": 1, "segmentation": [SQUARE], "attributes": {"track_id": 4}},
            {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [[20, 2, 22, 2, 22, 4, 20, 4]], "track_id": 4},
            {"id": 2, "image_id": 3, "category_id": 1, "segmentation": [SQUARE], "track_id": 5},
        ],
    }
    (video,) = coco.read(write(tmp_path, "instances.json", content), videos)
    assert [track.name for track in video.tracks] == ["4", "5"]
    joined = box.copy()
    joined[2:4, 20:22] = True
    assert (masks(video)[0] == joined).all()
    assert (masks(video, 1)[3] == box).all()


def test_coco_of_a_task_of_cvat_bears_the_name_of_its_film(videos, box, tmp_path) -> None:
    """The names of frames and the uncompressed runs are as CVAT's COCO 1.0 writes them of a film."""
    changes = np.flatnonzero(np.diff(box.T.ravel(), prepend=False)).tolist()
    runs = {"counts": np.diff([0, *changes, box.size]).tolist(), "size": [HEIGHT, WIDTH]}
    content = {
        "images": [{"id": 3, "file_name": "frame_000002.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 1, "name": "cup", "supercategory": ""}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 1, "segmentation": runs, "iscrowd": 1,
             "attributes": {"occluded": False, "track_id": 0, "keyframe": True}},
        ],
    }  # fmt: skip
    with pytest.raises(InputError, match=r"Rename instances_default.json to the video's name"):
        coco.read(write(tmp_path, "instances_default.json", content), videos)
    (video,) = coco.read(write(tmp_path, "film.json", content), videos)
    assert (video.name, video.labelled, video.tracks[0].name) == ("film", (2,), "0")
    assert (masks(video)[2] == box).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["annotations"][0].update(segmentations=[None] * 5, bboxes=[[1, 2, 3, 4]] * 5), "a box is no mask"),
        (lambda c: c["annotations"][0].update(segmentations=[None] * 4), "4 entries"),
        (lambda c: c["annotations"][0].update(category_id=9), "category_id 9"),
        (lambda c: c["annotations"][0].update(video_id=2), "video 2, which is not listed"),
        (lambda c: c["videos"][0].update(file_names=["clip/99999.jpg", *NAMES[1:]]), "no frame of"),
        (lambda c: c["videos"][0].update(name="../../etc"), "there is no video"),
        (lambda c: c["annotations"][0]["segmentations"].__setitem__(0, [[1, 2, 3]]), "invalid polygon"),
        (lambda c: c.pop("videos"), "neither videos nor images"),
        (
            lambda c: c["videos"][0].update(file_names=[NAMES[0], *NAMES[:4]]),
            "is of frame 00000 of .*, as is .*clip/00000.jpg. Keep one",
        ),
    ],
)
def test_coco_is_refused_by_name(videos, tmp_path, change, said) -> None:
    content = coco_video([[SQUARE], None, None, None, None])
    change(content)
    with pytest.raises(InputError, match=said):
        coco.read(write(tmp_path, "labels.json", content), videos)


def test_a_zip_and_a_folder_are_named_as_what_they_are(videos, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("annotations.xml", "<annotations/>")
    for reader in (coco, cvat, label_studio):
        with pytest.raises(InputError, match=r"export\.zip is a zip; unpack it"):
            reader.read(tmp_path / "export.zip", videos)
        with pytest.raises(InputError, match="is a folder; --labels names a file"):
            reader.read(tmp_path, videos)
        with pytest.raises(InputError, match="nowhere does not exist"):
            reader.read(tmp_path / "nowhere", videos)


def test_paths_that_were_written_on_windows_are_read(videos, box, tmp_path) -> None:
    image = {"images": [{"id": 1, "file_name": "clip\\00002.jpg"}], "categories": [{"id": 1, "name": "cup"}]}
    image |= {"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE]}]}
    (video,) = coco.read(write(tmp_path, "labels.json", image), videos)
    assert (video.name, video.labelled) == ("clip", (2,)) and (masks(video)[2] == box).all()
    image["images"].append({"id": 2, "file_name": "clip/00002.jpg"})
    with pytest.raises(InputError, match=r"image 2 is of frame 00002 of .*clip, as is .*image 1. Keep one"):
        coco.read(write(tmp_path, "labels.json", image), videos)


def cvat_video(*tracks: str, facts: str = "<source>film.mp4</source>") -> str:
    return f"<annotations><version>1.1</version><meta><task>{facts}</task></meta>{''.join(tracks)}</annotations>"


def polygon(frame: int, *, outside: int = 0, points: str = "4,2;10,2;10,6;4,6") -> str:
    return f'<polygon frame="{frame}" points="{points}" outside="{outside}" occluded="0" keyframe="1"/>'


def test_cvat_tracks_end_where_they_are_outside(videos, box, tmp_path) -> None:
    shapes = "".join([polygon(0), polygon(1), polygon(2, outside=1), polygon(4)])
    file = write(tmp_path, "annotations.xml", cvat_video(f'<track id="0" label="car">{shapes}</track>'))
    (video,) = cvat.read(file, videos)
    assert (video.name, video.labelled, video.tracks[0].name) == ("film", (0, 1, 2, 3, 4), "0")
    found = masks(video)
    assert sorted(found) == [0, 1, 4]
    assert all((mask == box).all() for mask in found.values())


def test_cvat_masks_are_runs_of_rows_and_one_object_by_label_and_group(videos, box, tmp_path) -> None:
    # 2 rows of 3 pixels in columns 4 to 6: 011 / 110
    mask = '<mask frame="{}" outside="{}" rle="1, 4, 1" left="4" top="2" width="3" height="2"/>'
    tracks = [
        f'<track id="{at}" label="cat" group_id="{group}">{mask.format(at, 0)}{mask.format(at + 1, 1)}</track>'
        for at, group in enumerate((0, 0, 8))
    ]
    file = write(tmp_path, "annotations.xml", cvat_video(*tracks))
    (video,) = cvat.read(file, videos)
    assert [track.name for track in video.tracks] == ["cat", "cat/8"]
    assert [list(masks(video, at)) for at in (0, 1)] == [[0, 1], [2]]
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[2, 5:7] = expected[3, 4:6] = True
    assert (masks(video)[0] == expected).all()


def test_cvat_labels_the_frames_that_its_task_shows(videos, tmp_path) -> None:
    facts = "<name>film</name><start_frame>0</start_frame><stop_frame>4</stop_frame><frame_filter>step=2</frame_filter>"
    shapes = polygon(0) + polygon(2) + polygon(4) + polygon(6, outside=1)
    file = write(tmp_path, "a.xml", cvat_video(f'<track id="0" label="car">{shapes}</track>', facts=facts))
    assert cvat.read(file, videos)[0].labelled == (0, 2, 4)


def test_a_project_of_cvat_is_read_where_it_holds_one_task(videos, tmp_path) -> None:
    facts = "<task><name>film</name><start_frame>1</start_frame><stop_frame>3</stop_frame></task>"
    meta = f"<meta><project><name>all of them</name><tasks>{facts}</tasks></project></meta>"
    track = '<track id="{0}" label="car" task_id="{0}" subset="default">{1}</track>'
    one = f"<annotations>{meta}{track.format(4, polygon(1) + polygon(2, outside=1))}</annotations>"
    assert cvat.read(write(tmp_path, "annotations.xml", one), videos)[0].labelled == (1, 2, 3)
    two = one.replace("</annotations>", f"{track.format(5, polygon(1))}</annotations>")
    with pytest.raises(InputError, match="a project with 2 tasks"):
        cvat.read(write(tmp_path, "annotations.xml", two), videos)


def test_cvat_images_lie_in_the_folder_of_their_video(videos, box, tmp_path) -> None:
    shape = '<polygon label="car" points="4,2;10,2;10,6;4,6" z_order="0"/>'
    images = f'<image id="0" name="clip/00001.jpg">{shape}</image><image id="1" name="clip/00002.jpg"></image>'
    (video,) = cvat.read(write(tmp_path, "a.xml", f"<annotations>{images}</annotations>"), videos)
    assert (video.name, video.labelled) == ("clip", (1, 2))
    assert (masks(video)[1] == box).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (cvat_video(f'<track id="0" label="car">{polygon(0)}{polygon(3)}</track>'), "between 0 and 3"),
        (cvat_video(f'<track id="0" label="car">{polygon(0)}{polygon(0)}</track>'), "two shapes in frame 0"),
        (cvat_video(f'<track id="0" label="car">{polygon(9)}</track>'), "frame 9, which the task does not show"),
        (
            cvat_video('<track id="0" label="car"><box frame="0" xtl="1"/></track>'),
            "track 0, frame 0 is labelled with bo",
        ),
        (cvat_video('<track id="0" label="car"><points frame="0" points="1,2"/></track>'), "is of the kind points"),
        (cvat_video(f'<track id="0" label="car">{polygon(0, points="1;2")}</track>'), "the point '1'"),
        (cvat_video(f'<track id="0" label="car">{polygon(0, points="nan,0;1,1;2,2")}</track>'), "invalid polygon"),
        (cvat_video(f'<track id="0">{polygon(0)}</track>'), "no label"),
        (
            cvat_video(
                '<track id="0" label="a"><mask frame="0" rle="9" left="0" top="0" width="4" height="2"/></track>'
            ),
            "9 pixels, expected width x height = 4 x 2",
        ),
        (
            cvat_video(
                '<track id="0" label="a"><mask frame="0" rle="8" left="30" top="0" width="4" height="2"/></track>'
            ),
            "beyond the frame",
        ),
        (cvat_video(), "no tracks and no images"),
        ("<annotations><track>", "not whole XML"),
        ("<html/>", "expected <annotations>"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>', "document type"),
        (cvat_video(f'<track id="0" label="a">{polygon(0)}</track>', facts="<source>../../x.mp4</source>"), "no video"),
    ],
)
def test_cvat_is_refused_by_name(videos, tmp_path, content, said) -> None:
    with pytest.raises(InputError, match=said):
        cvat.read(write(tmp_path, "annotations.xml", content), videos)


def brush(mask: np.ndarray) -> list[int]:
    """Label Studio's run lengths, opaque white where the mask is: a repeated block for each run of equal values."""
    values = np.repeat(mask.ravel() * 255, 4)
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{width - 1:04b}" for width in (3, 4, 8, 16))
    bounds = [0, *np.flatnonzero(np.diff(values)) + 1, len(values)]
    for begin, end in pairwise(bounds):
        bits += f"1{3:02b}{end - begin - 1:016b}{values[begin]:08b}"
    return [int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8)]


def test_brushes_hold_repeated_and_single_values() -> None:
    # one pixel, 4 values: a block of two single values 9 and 9, then 0 and 255 as two more
    bits = f"{4:032b}{7:05b}" + "0010" * 4 + f"000{1:03b}{9:08b}{9:08b}" + f"000{1:03b}{0:08b}{255:08b}"
    content = [int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8)]
    assert decode_brush(content, 1, 1).tolist() == [[True]]
    mask = np.random.default_rng(1).random((7, 11)) > 0.5
    assert (decode_brush(brush(mask), 7, 11) == mask).all()


def studio(results, image: str = "/data/local-files/?d=clip/00001.jpg", **data) -> list:
    return [{"id": 5, "data": {"image": image, **data}, "annotations": [{"result": results}]}]


def region(kind: str = "brushlabels", **value) -> dict:
    return {"id": "r", "type": kind, "original_width": WIDTH, "original_height": HEIGHT, "value": value}


def test_label_studio_takes_brushes_and_polygons_of_frames(videos, box, tmp_path) -> None:
    corners = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in ((4, 2), (10, 2), (10, 6), (4, 6))]
    drawn = [region(format="rle", rle=brush(box), brushlabels=["cat"])]
    outlined = [region("polygonlabels", points=corners, polygonlabels=["cat"]), {"type": "choices", "value": {}}]
    uploaded = studio(outlined, "/data/upload/1/0a1b2c3d-00003.jpg", video="clip")
    tasks = [*studio(drawn), *uploaded, *studio([], "clip/00004.jpg"), {"id": 6, "data": {}, "annotations": []}]
    (video,) = label_studio.read(write(tmp_path, "export.json", tasks), videos)
    assert (video.name, video.labelled) == ("clip", (1, 3, 4))
    found = masks(video)
    assert sorted(found) == [1, 3]
    assert all((mask == box).all() for mask in found.values())


def test_label_studio_has_the_label_of_a_brush_in_a_result_of_its_own(videos, box, tmp_path) -> None:
    """As the tags Brush and Labels write it; what is said of a region, such as a choice, repeats it too."""
    drawn = {"format": "rle", "rle": brush(box)}
    results = [
        region("brush", **drawn),
        region("labels", **drawn, labels=["cat"]),
        region("choices", **drawn, choices=["blurred"]),
    ]
    (video,) = label_studio.read(write(tmp_path, "export.json", studio(results)), videos)
    assert [track.label for track in video.tracks] == ["cat"]
    assert (masks(video)[1] == box).all()


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (studio([region("videorectangle", sequence=[])]), "a box is no mask"),
        (studio([region("rectanglelabels", x=1)]), "a box is no mask"),
        (studio([region(rle=[1, 2], brushlabels=["a"])]), "the brush ends early"),
        (studio([region("brush", rle=[1, 2])]), "the labels None, expected one"),
        (studio([region("ellipselabels", x=1, ellipselabels=["a"])]), "of type ellipselabels, expected a brush"),
        (studio([region(rle=[1], brushlabels=["a"]) | {"image_rotation": 90}]), "on a turned picture"),
        ([{"id": 5, "image": "clip/00001.jpg", "tag": []}], "not as JSON-MIN"),
        (studio([region(rle=[0, 0, 0, 8, 0, 0, 0, 0], brushlabels=["a"])]), "holds 8 values, expected 4 for each"),
        (studio([region(rle=[], brushlabels=["a"])]), "no list of bytes"),
        (studio([region(rle=[1], brushlabels=["a", "b"])]), "expected one"),
        (studio([region() | {"original_width": 9, "value": {"rle": [], "brushlabels": ["a"]}}]), "of 9x24 pixels"),
        (studio([], "/data/upload/1/0a1b2c3d-00003.jpg"), "does not tell which video"),
        (studio([], "/data/local-files/?d=../../secret/00001.jpg"), "no video"),
        ([*studio([]), *studio([])], "as is .*task 5"),
        ([{"id": 5, "data": {"frame": "a.jpg"}, "annotations": [{"result": []}]}], "data has 'frame', expected image"),
        ([{"id": 5, "annotations": [{"result": []}, {"result": []}]}], "2 annotations"),
        ({"tasks": []}, "expected a list of objects"),
        ("[1,", "not valid JSON"),
    ],
)
def test_label_studio_is_refused_by_name(videos, tmp_path, tasks, said) -> None:
    with pytest.raises(InputError, match=said):
        label_studio.read(write(tmp_path, "export.json", tasks), videos)


def test_png_folders_label_the_frames_that_have_a_file(videos, box, tmp_path) -> None:
    folder = tmp_path / "labels/film"
    folder.mkdir(parents=True)
    for name, value in (("00001", 1), ("00002", 0), ("00004", 7)):
        Image.fromarray(np.where(box, value, 0).astype(np.uint8)).save(folder / f"{name}.png")
    (video,) = png.read(tmp_path / "labels", videos)
    assert (video.name, video.labelled) == ("film", (1, 2, 4))
    assert [(track.name, list(track.masks)) for track in video.tracks] == [("1", [1]), ("7", [4])]
    Image.new("L", (9, 9)).save(folder / "00003.png")
    with pytest.raises(InputError, match="is 9x9, its frame 32x24"):
        png.read(tmp_path / "labels", videos)


def test_black_and_white_pictures_have_one_object_and_black_ones_none(videos, box, tmp_path) -> None:
    folder = tmp_path / "labels/clip"
    folder.mkdir(parents=True)
    for name, pixels in (("00000.PNG", 255 * box), ("00003.png", 0 * box)):
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
    (video,) = png.read(tmp_path / "labels", videos)
    assert ([track.name for track in video.tracks], video.labelled) == (["255"], (0, 3))
    assert (masks(video)[0] == box).all()
    Image.fromarray(np.where(box, 255, 1).astype(np.uint8)).save(folder / "00001.png")
    assert [track.name for track in png.read(tmp_path / "labels", videos)[0].tracks] == ["1"]  # 255 is nothing, then
    for path in ("00000.PNG", "00001.png"):
        (folder / path).unlink()
    with pytest.raises(InputError, match="all pictures are black"):
        png.read(tmp_path / "labels", videos)


def test_videos_are_never_looked_for_outside_of_their_folder(videos, footage, tmp_path) -> None:
    (tmp_path / "secret").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "secret/0.jpg")
    (footage / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="symbolic link out of"):
        videos.find("link", "labels")
    (footage / "clip/00005.jpg").symlink_to(tmp_path / "secret/0.jpg")
    with pytest.raises(InputError, match="symbolic link out of"):
        videos.find("clip", "labels")
    with pytest.raises(InputError, match="no video"):
        videos.find("../secret", "labels")
