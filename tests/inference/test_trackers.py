"""The seam for trackers: masks of the key frame in, those of all others out; Cutie behind it, with drawn weights."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from glus.errors import InputError
from glus.inference.cutie import build_cutie, load_cutie
from glus.inference.passes import PropagationSettings
from glus.inference.session import VideoSession

TEXTS = ["the red circle", "the small green square"]
KEY_FRAME = 4


class OneToTheRight:
    """Moves masks by a column with each frame, and says on which frames it was asked."""

    def __init__(self, video, settings):
        self.frames, self.logits = [], torch.empty(0)

    def begin(self, frame, logits):
        self.frames.append(frame)
        self.logits = logits

    def follow(self, frame):
        self.frames.append(frame)
        self.logits = self.logits.roll(1, dims=-1)
        return self.logits


def close(found, expected):
    """Whether logits agree but for rounding: of how many sentences the model is asked at once."""
    return np.allclose(found, expected, atol=1e-3)


def session_of(model, frames, tracker):
    session = VideoSession(model, frames, PropagationSettings(dynamic_multimask=False, tracker=tracker))
    for text in TEXTS:
        session.add(text, key_frame=KEY_FRAME)
    return session


def test_a_tracker_is_given_the_key_frame_and_asked_for_the_others_in_order(always_seg, frames):
    made = []

    def tracking(video, settings):
        made.append(OneToTheRight(video, settings))
        return made[-1]

    found = {frame.index: frame for frame in session_of(always_seg, frames, tracking)}
    assert [tracker.frames for tracker in made] == [[4, 5, 6, 7, 8], [4, 3, 2, 1, 0]]
    for index, frame in found.items():
        moved = np.roll(found[KEY_FRAME].logits, abs(index - KEY_FRAME), axis=-1)
        assert np.array_equal(frame.logits, moved) and frame.seg_token_generated.all()


def test_sentences_that_are_dropped_or_not_spoken_of_leave_the_others_as_they_are(always_seg, frames, monkeypatch):
    whole = {frame.index: frame for frame in session_of(always_seg, frames, OneToTheRight)}
    session = session_of(always_seg, frames, OneToTheRight)
    next(session), next(session)
    session.drop(0)
    for frame in session:
        assert frame.numbers == (1,) and close(frame.logits[0], whole[frame.index].logits[1])
    logits, calls = always_seg.seg_logits, iter([False, True, False, True])

    def second_only(hidden):
        values = logits(hidden)
        if not next(calls):
            values[:, always_seg.seg_id] = -1e9
        return values

    monkeypatch.setattr(always_seg, "seg_logits", second_only)
    for frame in session_of(always_seg, frames, OneToTheRight):
        assert frame.seg_token_generated.tolist() == [False, True]
        assert np.isnan(frame.logits[0]).all() and close(frame.logits[1], whole[frame.index].logits[1])


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    pytest.importorskip("cutie.model.cutie", reason="rf-cutie is not installed: pip install 'glus[cutie]'")
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("cutie") / "cutie-base-mega.pth"
    torch.save(build_cutie().state_dict(), file)
    return file


def test_cutie_carries_each_mask_alone_and_resumes(always_seg, frames, weights):
    tracking = load_cutie(weights, torch.device("cpu"))
    whole = {frame.index: frame for frame in session_of(always_seg, frames, tracking)}
    assert sorted(whole) == list(range(9)) and all(np.isfinite(frame.logits).all() for frame in whole.values())
    alone = VideoSession(always_seg, frames, PropagationSettings(dynamic_multimask=False, tracker=tracking))
    alone.add(TEXTS[1], key_frame=KEY_FRAME)
    for frame in alone:
        assert close(frame.logits[0], whole[frame.index].logits[1])
    begun, resumed = session_of(always_seg, frames, tracking), session_of(always_seg, frames, tracking)
    for _ in range(3):
        next(begun)
    resumed.restore(begun.state())
    for frame in resumed:
        assert np.array_equal(frame.logits, whole[frame.index].logits)


def test_cutie_leaves_a_blank_mask_blank(always_seg, frames, weights):
    session = session_of(always_seg, frames, None)
    tracker = load_cutie(weights, torch.device("cpu"))(session._video, PropagationSettings())
    logits = torch.full((2, *always_seg.masks.logit_size), -1.0)
    logits[1, 4:12, 4:12] = 1.0
    tracker.begin(0, logits)
    assert (tracker.follow(1)[0] < -10).all()


def test_what_is_no_cutie_is_refused_by_name(weights, tmp_path):
    tensors = torch.load(weights, weights_only=True)
    torch.save({name: value for name, value in tensors.items() if "key_proj" not in name}, tmp_path / "part.pth")
    with pytest.raises(InputError, match=r"part\.pth is not Cutie's base model: \d+ of its \d+ .*key_proj.*hkchengrex"):
        load_cutie(tmp_path / "part.pth", torch.device("cpu"))
    torch.save({"weights": Path("anything")}, tmp_path / "objects.pth")
    with pytest.raises(InputError, match="unpickled"):
        load_cutie(tmp_path / "objects.pth", torch.device("cpu"))


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cutie", None)
    with pytest.raises(InputError, match=r"glus\[cutie\]"):
        load_cutie(tmp_path / "cutie.pth", torch.device("cpu"))
