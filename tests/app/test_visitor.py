"""A visitor without a page: masks as `segment_video` makes them, sentences that come and go, stops, exports."""

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from patience import SECONDS
from PIL import Image

from glus import segment_video
from glus.app.drawing import draw_timelines, draw_view
from glus.app.exports import FILM, FORMS, export
from glus.app.visitor import Service, Visitor
from glus.app.visitors import IDLE_S, Visitors
from glus.errors import InputError
from glus.masks import decode_rle
from glus.media.sources import open_frames
from glus.records.tables import read_table
from glus.segmenting.jobs import Job
from glus.segmenting.outputs import MASKS
from glus.segmenting.requests import Format, SegmentRequest
from glus.segmenting.run import run_jobs

T, WIDTH, HEIGHT, BEST = 9, 64, 48, 5
RED, GREEN = "the red circle", "the small green square"


class FixedScores:
    """A selector that knows one frame."""

    def score(self, frames, expressions, *, go_on=None):
        scores = torch.zeros(len(expressions), len(frames))
        scores[:, BEST] = 1.0
        return scores


@pytest.fixture
def service(always_seg) -> Service:
    return Service(always_seg, None, window_stride=1, most_frames=20, most_sentences=3)


@pytest.fixture
def folder(frames, tmp_path) -> Path:
    path = tmp_path / "clip"
    path.mkdir()
    for number, frame in enumerate(frames):
        frame.save(path / f"{number:05d}.png")
    return path


@pytest.fixture
def visitor(service, folder, tmp_path) -> Iterator[Visitor]:
    visitor = Visitor(service, tmp_path / "visitor")
    visitor.open(folder, "my clip.mp4")
    yield visitor
    visitor.close()


def masks(visitor: Visitor) -> np.ndarray:
    """bool [B, T, H, W] of what is finished."""
    return np.array(
        [[decode_rle(asked.found[place].rle, HEIGHT, WIDTH) for place in range(T)] for asked in visitor.sentences]
    )


def count_encoded(model, monkeypatch) -> list[int]:
    """Frames of each call of SAM-2's image encoder."""
    counts: list[int] = []
    encode = model.masks.encode

    def counted(images):
        counts.append(len(images))
        return encode(images)

    monkeypatch.setattr(model.masks, "encode", counted)
    return counts


def test_masks_are_those_of_segment_video_from_the_selectors_frame(always_seg, folder, tmp_path):
    visitor = Visitor(Service(always_seg, FixedScores(), 1, 20, 3), tmp_path / "visitor")
    visitor.open(folder, "clip")
    visitor.ask([RED, "", f" {GREEN} ", RED])
    assert [asked.text for asked in visitor.sentences] == [RED, GREEN]
    order = list(visitor.segment())
    assert order == [*range(BEST, T), *range(BEST - 1, -1, -1)]
    assert [asked.key_frame for asked in visitor.sentences] == [BEST, BEST]
    wanted = segment_video(always_seg, folder, [RED, GREEN], key_frame=BEST).masks
    assert np.array_equal(masks(visitor), wanted) and wanted.any()


def test_sentences_come_and_go_and_move_without_encoding_again(visitor, always_seg, folder, monkeypatch):
    counts = count_encoded(always_seg, monkeypatch)
    visitor.ask([RED])
    assert list(visitor.segment()) == list(range(T))
    first = masks(visitor)[0]
    visitor.ask([GREEN, RED])
    assert list(visitor.segment()) == list(range(T))  # of the new one alone
    assert np.array_equal(masks(visitor)[1], first)
    visitor.start_at(0, 3)
    assert len(list(visitor.segment())) == T
    visitor.ask([GREEN])
    assert list(visitor.segment()) == []
    assert np.array_equal(masks(visitor), segment_video(always_seg, folder, [GREEN], key_frame=3).masks)
    assert sum(counts) == 2 * T  # once for the visitor, once for the comparison


def test_a_sentence_that_is_dropped_while_it_is_segmented_leaves_the_others_as_they_are(visitor, always_seg, folder):
    visitor.ask([RED, GREEN])
    run = visitor.segment()
    list(islice(run, 4))
    visitor.ask([GREEN])
    assert list(run) == list(range(4, T))
    assert np.allclose(masks(visitor), segment_video(always_seg, folder, [GREEN]).masks)


def test_stopped_it_goes_on_from_there_and_a_later_run_takes_over(visitor, always_seg, folder):
    visitor.ask([RED])
    run = visitor.segment()
    assert list(islice(run, 3)) == [0, 1, 2]
    visitor.stop()
    assert list(run) == []
    later = visitor.segment()
    assert next(later) == 3
    last = visitor.segment()
    assert next(last) == 4 and list(later) == []
    assert list(last) == list(range(5, T))
    assert np.array_equal(masks(visitor), segment_video(always_seg, folder, [RED]).masks)


def test_a_frame_that_is_done_after_stop_says_stopped(visitor, always_seg, monkeypatch):
    """Its reply may reach the page after that to Stop."""
    replies = pytest.importorskip("glus.app.replies", exc_type=ImportError)
    decode, tab = always_seg.masks.decode, SimpleNamespace(session_hash="tab")
    shown = replies.Replies(SimpleNamespace(of=lambda _: visitor), {}).segment(RED, tab)
    said = [next(shown)[-1] for _ in range(3)]
    assert said == ["Reading the video …", f"1 of {T} masks.", f"2 of {T} masks."]
    monkeypatch.setattr(always_seg.masks, "decode", lambda *given: (visitor.stop(), decode(*given))[1])
    assert [page[-1] for page in shown] == 2 * ["Stopped; Segment goes on from here."]
    monkeypatch.setattr(always_seg.masks, "decode", decode)
    again = replies.Replies(SimpleNamespace(of=lambda _: visitor), {}).segment(RED, tab)
    assert [page[-1] for page in again][-2:] == 2 * [f"Finished: {T} masks."]


def test_stop_ends_the_selector_while_others_work(always_seg, folder, tmp_path):
    class LookingForever(FixedScores):
        looked = threading.Event()

        def score(self, frames, expressions, *, go_on):
            while True:
                go_on()
                self.looked.set()

    selector, at_work = LookingForever(), threading.Lock()
    one = Visitor(Service(always_seg, selector, 1, 20, 3, at_work), tmp_path / "one")
    other = Visitor(Service(always_seg, None, 1, 20, 3, at_work), tmp_path / "other")
    for visitor in (one, other):
        visitor.open(folder, "clip")
        visitor.ask([RED])
    found: list[int] = []
    looking = threading.Thread(target=lambda: found.extend(one.segment()), daemon=True)
    looking.start()
    assert selector.looked.wait(SECONDS)
    assert list(islice(other.segment(), 2)) == [0, 1]
    assert looking.is_alive()
    one.stop()
    looking.join(SECONDS)
    assert not looking.is_alive() and not found and one.sentences[0].key_frame is None


def test_two_visitors_at_once_do_not_mix(service, always_seg, folder, tmp_path):
    visitors = Visitors(service, tmp_path / "visitors", 2)
    texts = {"one": [RED], "two": [GREEN]}
    for tab, asked in texts.items():
        visitors.of(tab).open(folder, tab)
        visitors.of(tab).ask(asked)
    at_work = [threading.Thread(target=lambda tab=tab: list(visitors.of(tab).segment())) for tab in texts]
    for thread in at_work:
        thread.start()
    for thread in at_work:
        thread.join()
    for tab, asked in texts.items():
        assert np.array_equal(masks(visitors.of(tab)), segment_video(always_seg, folder, asked).masks)
    one, other = visitors.of("one"), visitors.of("two")
    paths = [export(each, Format.COCO) for each in (one, other)]
    with pytest.raises(InputError, match="in use in 2 tabs"):
        visitors.of("three")
    assert one.folder.exists()
    visitors.leave("one")
    assert not one.folder.exists() and paths[1].is_file() and len(other.sentences) == 1
    assert visitors.of("one") is not one and visitors.of("one").clip is None


def test_who_is_idle_for_half_an_hour_gives_way(service, folder, tmp_path):
    visitors = Visitors(service, tmp_path / "visitors", 2)
    first, second = (visitors.of(tab) for tab in ("one", "two"))
    first.open(folder, "clip")
    first.seen -= IDLE_S
    assert visitors.of("one") is first and visitors.of("three") not in (first, second)
    assert first.clip is None and visitors.of("two") is second
    with pytest.raises(InputError, match="in use in 2 tabs"):
        visitors.of("one")


def test_what_is_refused_leaves_all_as_it_was(service, visitor, tmp_path, frames):
    visitor.ask([RED])
    next(visitor.segment())
    no_video = tmp_path / "notes.mp4"
    no_video.write_text("no film")
    with pytest.raises(InputError, match=r"^notes\.mp4") as refused:
        visitor.open_upload(no_video)
    assert str(tmp_path) not in str(refused.value)
    assert not list(visitor.folder.glob("upload-*"))
    long = tmp_path / "long"
    long.mkdir()
    for number in range(service.most_frames + 1):
        frames[0].save(long / f"{number}.png")
    with pytest.raises(InputError, match="long has 21 frames, and this page takes 20; cut it"):
        visitor.open(long, "long")
    for texts, words in (
        ([" ", ""], "Type what to segment"),
        (["the [SEG]"], "control mark"),
        ([f"number {at}" for at in range(4)], "4 sentences are asked at once, and this page takes 3; remove some"),
        (["a " * 500 + "b"], "A sentence has 1001 characters, and this page takes 1000"),
    ):
        with pytest.raises(InputError, match=words):
            visitor.ask(texts)
    with pytest.raises(InputError, match="not there any more"):
        visitor.start_at(1, 0)
    assert visitor.clip.name == "my clip.mp4" and len(visitor.sentences[0].found) == 1
    with pytest.raises(InputError, match="Choose a video first"):
        next(Visitor(service, tmp_path / "new").segment())


def test_an_upload_is_the_visitors_own_and_is_gone_with_the_next_and_at_the_end(visitor, frames, tmp_path):
    for number in range(2):
        upload = tmp_path / f"{number}.png"
        frames[number].save(upload)
        visitor.open_upload(upload)
        assert not upload.exists()
    assert [path.name for path in visitor.folder.glob("upload-*/*")] == ["1.png"]
    visitor.close()
    assert not visitor.folder.exists()


def test_each_export_opens_and_holds_the_masks(visitor):
    visitor.ask([RED, GREEN])
    with pytest.raises(InputError, match="press Segment"):
        export(visitor, FILM)
    list(visitor.segment())
    wanted = masks(visitor)
    found = {form: export(visitor, form).read_bytes() for form in FORMS}
    rows = export(visitor, Format.PARQUET)
    assert rows.name == "my clip-masks.parquet"
    table = read_table("segmented", rows).to_pylist()
    assert len(table) == 2 * T and [row["is_key_frame"] for row in table[:2]] == [True, True]
    assert all(
        np.array_equal(decode_rle(row["rle_counts"], HEIGHT, WIDTH), wanted[row["sentence_number"], row["frame_index"]])
        for row in table
    )
    film = open_frames(export(visitor, FILM))
    assert (len(film), film.size) == (T, (WIDTH, HEIGHT))
    assert [item["expression"] for item in json.loads(found[Format.COCO])["annotations"]] == [RED, GREEN]
    for form, name, look in (
        (Format.PNG, "masks/01/00003.png", lambda picture: picture == 255),
        (Format.CUTOUT, "cutout/01/00003.png", lambda picture: picture[..., 3] == 255),
        (Format.PALETTE, "palette/00003.png", lambda picture: picture == 2),
    ):
        with zipfile.ZipFile(io.BytesIO(found[form])) as archive:
            picture = np.asarray(Image.open(io.BytesIO(archive.read(name))))
        assert np.array_equal(look(picture), wanted[1, 3]), form


def test_the_table_is_the_one_that_glus_segment_writes(always_seg, folder, tmp_path, monkeypatch):
    loaded = SimpleNamespace(glus=always_seg, selector=FixedScores(), compute={}, require=lambda: None)
    monkeypatch.setattr("glus.segmenting.run.Models", lambda request: loaded)
    job = Job(folder, (RED, GREEN), tmp_path / "out")
    assert list(run_jobs([job], SegmentRequest(model=tmp_path)))
    visitor = Visitor(Service(always_seg, FixedScores(), 1, 20, 3), tmp_path / "visitor")
    visitor.open(folder, "clip")
    visitor.ask([RED, GREEN])
    list(visitor.segment())
    rows = read_table("segmented", export(visitor, Format.PARQUET)).to_pylist()
    assert rows == read_table("segmented", job.output / MASKS).to_pylist()
    assert [row["selector_score"] for row in rows[:: 2 * BEST]] == [0.0, 1.0]


def test_what_is_finished_of_a_stopped_run_can_be_exported(visitor):
    visitor.ask([RED])
    list(islice(visitor.segment(), 4))
    table = read_table("segmented", export(visitor, Format.PARQUET))
    assert table["frame_index"].to_pylist() == [0, 1, 2, 3]
    visitor.ask([RED, GREEN])
    with pytest.raises(InputError, match="Not every sentence"):
        export(visitor, Format.PARQUET)


def test_the_page_marks_frames_without_seg_and_writes_sentences_as_text(visitor, always_seg, monkeypatch):
    answers = iter(range(100))
    logits = always_seg.seg_logits

    def sometimes(hidden):
        values = logits(hidden)
        for row in values.reshape(-1, values.shape[-1]):
            if next(answers) in (4, 5):
                row[always_seg.seg_id] = row.min() - 1
        return values

    monkeypatch.setattr(always_seg, "seg_logits", sometimes)
    visitor.ask(["the <b>red</b> circle"])
    list(visitor.segment())
    marks = [asked.seg_token_generated for _, asked in sorted(visitor.sentences[0].found.items())]
    assert marks == [place not in (4, 5) for place in range(T)]
    drawn = draw_timelines(visitor)
    assert '<rect class="silent" x="4" width="2"' in drawn and "the &lt;b&gt;red&lt;/b&gt; circle" in drawn
    visitor.look_at(4)
    assert "no [SEG]" in draw_view(visitor) and "<b>" not in draw_view(visitor)
