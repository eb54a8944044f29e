"""A session against the plain path: equal masks, bounded stores, nothing read or encoded twice."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from glus import GLUS, segment_video
from glus.errors import InputError
from glus.inference import VideoSession
from glus.inference.encoder import FRAMES_KEPT
from glus.inference.passes import PropagationSettings
from glus.inference.prompts import build_conversation
from glus.inference.state import read_state, write_state
from glus.inference.windows import plan_windows
from glus.media.sources import FrameSource
from glus.model.memory import MemoryBank
from tests.inference.published import PlainPass

TEXTS = ["the red circle", "The small green square.", "the green circle"]


def clip(num_frames: int) -> list[Image.Image]:
    noise = np.random.default_rng(num_frames).integers(0, 255, (num_frames, 48, 64, 3), dtype=np.uint8)
    return [Image.fromarray(frame) for frame in noise]


def lazy(frames: list[Image.Image], read: Callable[[int], None] = lambda _: None) -> FrameSource:
    """The frames as a source that tells what is read of it."""

    def frame(index: int) -> Image.Image:
        read(index)
        return frames[index]

    names = tuple(map(str, range(len(frames))))
    return FrameSource("a clip", None, frames[0].size, names, range(len(frames)), frame)


class Watch:
    """Images of each encoder and tokens of the language model's first layer, while a model works."""

    def __init__(self, model: GLUS) -> None:
        self.clip = self.sam2 = self.tokens = self.last_layer = 0
        layers = model.language_model.model.layers
        hooks = (
            (model.vision_tower.embeddings, lambda args: self._count("clip", len(args[0]))),
            (model.masks.sam2.image_encoder, lambda args: self._count("sam2", len(args[0]))),
            (layers[0].mlp, lambda args: self._count("tokens", args[0][..., 0].numel())),
            (layers[-1].mlp, lambda args: self._count("last_layer", args[0][..., 0].numel())),
        )
        for module, look in hooks:
            module.register_forward_pre_hook(lambda _, args, look=look: look(args))

    def _count(self, name: str, number: int) -> None:
        setattr(self, name, getattr(self, name) + number)


def expected_tokens(model: GLUS, texts: list[str], num_steps: int, stride: int) -> tuple[int, int]:
    """Language-model tokens and computed states of one pass, the context left out."""
    settings, per_frame = model.settings, model.mllm.tokens_per_frame
    apart = settings.trailing_space and stride == 1
    tokens = states = 0
    for window in plan_windows(num_steps, settings.num_query_frames, stride, apart=apart):
        endings = [build_conversation(model, text, len(window), window.answers, trailing_space=apart) for text in texts]
        tokens += per_frame + sum(len(ending.ending) for ending in endings)
        states += window.answers * len(texts)
    return tokens, states


@pytest.mark.parametrize("trailing_space", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_what_is_read_and_encoded_is_what_the_formula_says(always_seg, stride, trailing_space):
    always_seg.use(replace(always_seg.settings, trailing_space=trailing_space))
    watch = Watch(always_seg)
    session = VideoSession(always_seg, lazy(clip(11)), PropagationSettings(window_stride=stride))
    for text in TEXTS[:2]:
        session.add(text, key_frame=4)
    assert len(list(session)) == 11
    context = len(build_conversation(always_seg, TEXTS[0], 1, 1, trailing_space=False).context)
    passes = [expected_tokens(always_seg, TEXTS[:2], steps, stride) for steps in (7, 5)]
    assert watch.tokens == context + sum(tokens for tokens, _ in passes)
    assert watch.last_layer == sum(states for _, states in passes)
    assert (watch.clip, watch.sam2) == (11, 11)


@pytest.mark.parametrize(("trailing_space", "key_frame"), [(True, 3), (False, 3)])
def test_equal_to_the_plain_path(always_seg, trailing_space, key_frame):
    always_seg.use(replace(always_seg.settings, trailing_space=trailing_space, dynamic_multimask=True))
    frames = clip(12)
    found = segment_video(always_seg, frames, TEXTS[1:], key_frame=key_frame)
    for row, text in enumerate(TEXTS[1:]):
        for order in (range(key_frame, 12), range(key_frame, -1, -1)):
            plain = PlainPass(always_seg, frames, text).run(order)
            torch.testing.assert_close(torch.from_numpy(found.logits[row, list(order)]), plain, atol=1e-4, rtol=0)


@pytest.mark.parametrize("stride", [1, 3, 5])
def test_the_bank_forgets_nothing_that_is_read(always_seg, stride, monkeypatch):
    """64 frames with missed [SEG]: masks bit-equal to those of a bank that keeps everything, at most 8 entries."""
    frames, missed = clip(64), {0, 7, 8, 21, 33, 34, 35, 36, 37, 38, 39, 60}
    _miss(always_seg, missed, monkeypatch)
    sizes: list[int] = []
    write = MemoryBank.write

    def watched(bank, frame, memory):
        write(bank, frame, memory)
        sizes.append(len(bank))

    with monkeypatch.context() as patch:
        patch.setattr(MemoryBank, "write", watched)
        pruned = segment_video(always_seg, frames, TEXTS[:1], memory_stride=stride)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryBank, "write", lambda bank, frame, memory: bank._memories.__setitem__(frame, memory))
        _miss(always_seg, missed, monkeypatch)
        whole = segment_video(always_seg, frames, TEXTS[:1], memory_stride=stride)
    assert np.array_equal(pruned.logits, whole.logits, equal_nan=True) and np.array_equal(pruned.masks, whole.masks)
    assert pruned.memory_frame_indices == whole.memory_frame_indices
    assert set(np.flatnonzero(~pruned.seg_token_generated[0]).tolist()) == missed
    assert max(sizes) <= 7


def _miss(model: GLUS, missed: set[int], patch: pytest.MonkeyPatch) -> None:
    """[SEG] does not win at some steps of a pass of one sentence."""
    steps = iter(range(10_000))

    def logits(states):
        values = torch.zeros(len(states), len(model.tokenizer))
        for row in values:
            row[model.seg_id] = -1.0 if next(steps) in missed else 1.0
        return values

    patch.setattr(model, "seg_logits", logits)


@pytest.mark.parametrize(("key_frame", "window_stride"), [(8, 1), (0, 4)])
def test_a_long_clip_is_read_forward_and_back_with_bounded_stores(always_seg, key_frame, window_stride):
    frames, reads = clip(FRAMES_KEPT + 10), Counter()
    watch = Watch(always_seg)
    session = VideoSession(
        always_seg, lazy(frames, lambda index: reads.update([index])), PropagationSettings(window_stride=window_stride)
    )
    session.add(TEXTS[0], key_frame=key_frame)
    order = []
    for frame in session:
        order.append(frame.index)
        assert frame.masks.shape == (1, 48, 64) and frame.numbers == (0,)
        assert all(entries <= most for entries, most in session.entries().values()), session.entries()
    assert order == [*range(key_frame, len(frames)), *range(key_frame - 1, -1, -1)]
    again = 1 if key_frame else 0  # the key frame, which has left the store when the way backward begins
    assert (watch.clip, watch.sam2) == (len(frames) + again, len(frames) + again)
    context = set(session.context_frames)
    assert all(reads[index] <= 1 + (index in context) + (index == key_frame) for index in reads)


@pytest.mark.parametrize(("window_stride", "key_frames"), [(1, [8, 3]), (2, [5, 5]), (4, [8, 3])])
def test_streaming_gives_what_the_whole_gives(always_seg, frames, key_frames, window_stride):
    options = {"key_frame": key_frames, "window_stride": window_stride}
    whole = segment_video(always_seg, frames, TEXTS[:2], **options)
    answered = Counter()
    for frame in segment_video(always_seg, frames, TEXTS[:2], stream=True, **options):
        rows, index = list(frame.numbers), frame.index
        answered.update((row, index) for row in rows)
        assert np.array_equal(frame.masks, whole.masks[rows, index])
        assert np.array_equal(frame.logits, whole.logits[rows, index])
        assert [whole.memory_frame_indices[row][index] for row in rows] == frame.memory_frame_indices
    assert answered == Counter({(row, index): 1 for row in range(2) for index in range(9)})
    assert whole.seg_token_generated.all()


def test_strides_see_the_same_first_frame_and_windows_of_their_own(always_seg):
    """A first window holds the first frame alone before its answer, whatever it answers for besides."""
    frames = clip(12)
    found = [segment_video(always_seg, frames, TEXTS[:1], window_stride=stride) for stride in (1, 2, 4)]
    for other in found[1:]:
        assert np.allclose(other.seg_embeddings[0, :4], found[0].seg_embeddings[0, :4], atol=1e-4)
        assert not np.allclose(other.seg_embeddings[0, 4:], found[0].seg_embeddings[0, 4:], atol=1e-3)
    newest = [5, 7, 9, 11]  # the newest frame of a window of stride 2 is asked for as with stride 1
    assert np.allclose(found[1].seg_embeddings[0, newest], found[0].seg_embeddings[0, newest], atol=1e-4)


def test_a_missed_frame_within_a_window_leaves_the_others(always_seg, frames, monkeypatch):
    _miss(always_seg, {1, 6}, monkeypatch)
    result = segment_video(always_seg, frames, TEXTS[:1], window_stride=4)
    assert np.flatnonzero(~result.seg_token_generated[0]).tolist() == [1, 6]
    assert result.memory_frame_indices[0][2] == [0] and not result.masks[0, 6].any()


def test_sentences_come_and_go(always_seg):
    """One that is added starts at the next frame, one that is dropped ends; the others do not notice."""
    frames = clip(14)
    watch = Watch(always_seg)
    session = VideoSession(always_seg, lazy(frames))
    session.add(TEXTS[0])
    numbers, logits = [], {}
    for frame in session:
        numbers.append(frame.numbers)
        logits |= {(number, frame.index): row for number, row in zip(frame.numbers, frame.logits, strict=True)}
        if frame.index == 4:
            assert session.add(TEXTS[1]) == 1
        if frame.index == 9:
            session.drop(0)
    assert numbers == [(0,)] * 5 + [(0, 1)] * 5 + [(1,)] * 4
    assert (watch.clip, watch.sam2) == (14, 14)
    alone = segment_video(always_seg, frames, TEXTS[:1])
    assert all(np.allclose(logits[0, index], alone.logits[0, index], atol=1e-4) for index in range(10))
    later = segment_video(always_seg, frames, TEXTS[1:2], key_frame=5)
    assert all(np.allclose(logits[1, index], later.logits[0, index], atol=1e-4) for index in range(5, 14))
    assert list(session) == []


def test_a_sentence_that_was_dropped_before_its_key_frame_costs_nothing(always_seg):
    session = VideoSession(always_seg, lazy(clip(12)))
    session.add(TEXTS[0], key_frame=3)
    session.drop(session.add(TEXTS[1], key_frame=10))
    frames = [frame.index for frame in session]
    assert frames == [*range(3, 12), 2, 1, 0]


def test_each_sentence_may_be_segmented_in_a_way_of_its_own(always_seg, frames):
    session = VideoSession(always_seg, frames)
    multimask = always_seg.settings.dynamic_multimask
    ways = [
        PropagationSettings(dynamic_multimask=multimask),
        PropagationSettings(use_memory=False, dynamic_multimask=multimask),
        PropagationSettings(memory_stride=1, dynamic_multimask=multimask, window_stride=4),
    ]
    for way in ways:
        session.add(TEXTS[0], settings=way)
    together = np.stack([frame.logits for frame in session], axis=1)
    alone = [
        segment_video(always_seg, frames, TEXTS[:1], **options).logits[0]
        for options in ({}, {"use_memory": False}, {"memory_stride": 1, "window_stride": 4})
    ]
    assert np.allclose(together, alone, atol=1e-4) and not np.allclose(together[0], together[1], atol=1e-4)


def test_a_short_clip_is_encoded_once_whatever_the_key_frames(always_seg):
    watch = Watch(always_seg)
    segment_video(always_seg, clip(FRAMES_KEPT), TEXTS[:2], key_frame=[4, 9], use_memory=False, window_stride=4)
    assert (watch.clip, watch.sam2) == (FRAMES_KEPT, FRAMES_KEPT)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window_stride": 5}, "window_stride 5: a window has 4 query frames"),
        ({"window_stride": 0}, "window_stride 0"),
        ({"memory_stride": 0}, "memory_stride 0"),
        ({"key_frame": 9}, "key frame 9 is outside of the video, which has frames 0 to 8"),
        ({"key_frame": -1}, "key frame -1 is outside"),
        ({"key_frame": 1, "anchor": 1}, "key_frame or its older name anchor"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_requests_are_refused_at_once(always_seg, frames, options, words, stream):
    with pytest.raises(InputError, match=words):
        segment_video(always_seg, frames, TEXTS[:1], stream=stream, **options)


def test_what_a_session_cannot_do_is_said(always_seg, frames):
    session = VideoSession(always_seg, frames)
    session.add(TEXTS[0])
    for _ in range(4):
        next(session)
    with pytest.raises(InputError, match="key frame 2 has passed: the video was segmented up to frame 3"):
        session.add(TEXTS[1], key_frame=2)
    with pytest.raises(InputError, match=r"sentence 5 is not in the session; it has \[0\]"):
        session.drop(5)
    list(session)
    with pytest.raises(InputError, match="all 9 frames of the video were segmented"):
        session.add(TEXTS[1])


def test_a_frame_of_another_size_is_named(always_seg, frames):
    odd = [*frames[:6], frames[6].resize((32, 32)), *frames[7:]]
    with pytest.raises(InputError, match="a clip: frame 6 is 32x32, the clip is 64x48"):
        list(segment_video(always_seg, lazy(odd), TEXTS[:1], stream=True))


def test_half_precision_of_the_language_model_moves_the_answers_a_little(always_seg, frames):
    """As released weights are stored: LLaMA and CLIP's projector in bfloat16, SAM-2 in float32."""
    exact = segment_video(always_seg, frames, TEXTS[:2])
    always_seg.mllm.to(torch.bfloat16)
    rounded = segment_video(always_seg, frames, TEXTS[:2])
    assert rounded.logits.dtype == np.float32
    apart = np.abs(rounded.seg_embeddings - exact.seg_embeddings).mean()
    assert 0 < apart < 0.1 * exact.seg_embeddings.std()


@pytest.mark.parametrize("stride", [1, 4])
def test_a_session_goes_on_in_another_one_with_the_same_bits(always_seg, tmp_path, stride):
    source, settings = clip(16), PropagationSettings(window_stride=stride)

    def begin() -> VideoSession:
        session = VideoSession(always_seg, source, settings)
        for text, key_frame in zip(TEXTS, (0, 5, 11), strict=True):
            session.add(text, key_frame=key_frame)
        return session

    expected = list(begin())
    stopped = begin()
    for number, frame in enumerate(stopped):
        if number in (0, 3, 9, 13, 19):  # on both ways, between and within windows
            write_state(stopped.state(), tmp_path / "state")
            resumed = begin()
            resumed.restore(read_state(tmp_path / "state"))
            following = [next(resumed, None) for _ in range(5)]
            for found, wanted in zip(following, [*expected[number + 1 :], *[None] * 5], strict=False):
                assert (found is None) == (wanted is None)
                if found and wanted:
                    assert (found.index, found.numbers) == (wanted.index, wanted.numbers)
                    np.testing.assert_array_equal(found.logits, wanted.logits)
                    assert found.memory_frame_indices == wanted.memory_frame_indices
        assert frame.index == expected[number].index


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("mllm.language_model.model.norm.weight", r"\[SEG\] embeddings"),
        ("masks.sam2.no_mem_embed", "mask logits of frame 0"),
    ],
)
def test_weights_that_are_not_finite_are_named_and_no_blank_masks_are_given(always_seg, frames, part, said):
    with torch.no_grad():
        always_seg.get_parameter(part).fill_(torch.nan)
    with pytest.raises(InputError, match=f"{said} are not finite"):
        segment_video(always_seg, frames, TEXTS[:1])
