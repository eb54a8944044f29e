"""A whole video: passes, memory, misses, and the same masks as the training path."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from glus.config import MemoryConfig
from glus.errors import InputError
from glus.inference import segment_video
from glus.inference.encoder import VideoEncoder
from glus.inference.passes import Pass, PropagationSettings, StepResult, Track
from glus.media.sources import open_frames
from glus.model.conversations import pack_conversations
from glus.processing.context_frames import centre_context_frames
from glus.processing.conversation import training_prompt
from glus.processing.tokens import expand_images
from glus.training.segmentation.batch import ClipBatch
from glus.training.segmentation.objectives import encode_clip, seg_hidden, segment_window

EXPRESSIONS = ["the red circle", "The small green square."]


def run_pass(model, clip, expressions, frames, settings) -> list[StepResult]:
    tracks = [Track(number, text, settings) for number, text in enumerate(expressions)]
    one = Pass(VideoEncoder(model, open_frames(clip)), tracks, frames)
    return [one.step() for _ in frames]


def test_shapes_and_types(always_seg, frames):
    result = segment_video(always_seg, frames, EXPRESSIONS)
    assert result.masks.shape == (2, 9, 48, 64) and result.masks.dtype == bool
    assert result.logits.shape == (2, 9, 16, 16) and result.seg_embeddings.shape == (2, 9, 128)
    assert result.seg_token_generated.all() and np.isfinite(result.logits).all()
    assert result.context_frame_indices == [1, 3, 5, 7]
    assert result.memory_frame_indices[0][8] == [0, 3, 6, 7]


def test_batching_of_expressions_changes_nothing(always_seg, frames):
    together = segment_video(always_seg, frames, EXPRESSIONS)
    for number, expression in enumerate(EXPRESSIONS):
        alone = segment_video(always_seg, frames, [expression])
        assert np.allclose(together.logits[number], alone.logits[0], atol=1e-4)


def test_a_key_frame_splits_the_video_into_two_passes(always_seg, frames):
    result = segment_video(always_seg, frames, EXPRESSIONS[:1], key_frame=5)
    settings = PropagationSettings(dynamic_multimask=False)
    for order in ([5, 6, 7, 8], [5, 4, 3, 2, 1, 0]):
        for step in run_pass(always_seg, frames, EXPRESSIONS[:1], order, settings):
            assert np.allclose(result.logits[0, step.frame], step.logits[0], atol=1e-5)
    assert result.memory_frame_indices[0][1] == [5, 2] and result.memory_frame_indices[0][7] == [5, 6]


def test_each_expression_may_have_its_own_key_frame(always_seg, frames):
    both = segment_video(always_seg, frames, EXPRESSIONS, anchor=[0, 4])
    assert np.allclose(
        both.logits[1], segment_video(always_seg, frames, EXPRESSIONS[1:], anchor=4).logits[0], atol=1e-4
    )
    assert both.key_frame_index.tolist() == [0, 4]


def test_without_memory_frames_are_independent_of_masks(always_seg, frames):
    result = segment_video(always_seg, frames, EXPRESSIONS[:1], use_memory=False)
    assert result.memory_frame_indices == [[[]] * 9]


def test_a_frame_without_seg_is_blank_says_so_and_is_not_remembered(always_seg, frames, monkeypatch):
    logits = always_seg.seg_logits
    calls = iter([True, True, False, *[True] * 6])

    def fail_third(hidden):
        values = logits(hidden)
        hit = torch.tensor([next(calls) for _ in range(len(hidden))])
        values[~hit, always_seg.seg_id] = -1e9
        return values

    monkeypatch.setattr(always_seg, "seg_logits", fail_third)
    result = segment_video(always_seg, frames, EXPRESSIONS[:1])
    assert result.seg_token_generated[0].tolist() == [True, True, False, *[True] * 6]
    assert not result.masks[0, 2].any() and np.isnan(result.logits[0, 2]).all()
    assert result.memory_frame_indices[0][3] == [0]


@pytest.mark.parametrize("num_frames", [1, 2, 3])
def test_short_videos_are_segmented(always_seg, frames, num_frames):
    result = segment_video(always_seg, frames[:num_frames], EXPRESSIONS[:1])
    assert np.isfinite(result.logits).all() and len(result.context_frame_indices) == 4


@pytest.mark.parametrize("num_context_frames", [4, 0])  # 0: local reasoning alone (Table 4)
@torch.inference_mode()
def test_training_and_inference_are_one_forward(always_seg, frames, num_context_frames):
    """Four frames, memory stride 1: the batch of training and the stream of inference give equal masks."""
    model, expression = always_seg, "the red circle"
    model.use(replace(model.settings, num_context_frames=num_context_frames))
    clip = frames[:4]
    settings = PropagationSettings(memory_stride=1, dynamic_multimask=False)
    stream = run_pass(model, clip, [expression], range(4), settings)
    ids = expand_images(
        model.tokenizer.encode_with_images(training_prompt(expression, num_context_frames, [0] * 4, [3] * 4)),
        model.mllm.tokens_per_frame,
    )
    asked = [position - 1 for position, token in enumerate(ids) if token == model.seg_id]
    context = [clip[index] for index in centre_context_frames(4, num_context_frames)]
    batch = ClipBatch(
        clip_pixels=model.transform.clip(context + clip).unsqueeze(0),
        sam2_pixels=model.transform.sam2(clip).unsqueeze(0),
        input_ids=torch.tensor([ids]),
        conversations=pack_conversations([ids], [0], len(context + clip) * model.mllm.tokens_per_frame, [asked]),
        clip_of=torch.tensor([0]),
        targets=(),
        keys=(),
    )
    prompts = model.seg_prompts(seg_hidden(model, batch).seg)
    assert torch.allclose(prompts[0], torch.cat([step.seg_embeddings for step in stream]), atol=1e-4)
    memory = MemoryConfig(train_stride=1, max_strided=6, detach=False)
    logits = segment_window(model.masks, encode_clip(model, batch.sam2_pixels), prompts, batch.clip_of, memory)
    streamed = torch.cat([step.logits for step in stream])
    assert torch.allclose(logits[0], streamed, atol=1e-3)
    assert torch.equal(logits[0] > 0, streamed > 0)


@pytest.mark.parametrize(
    ("frames_given", "expressions", "options", "words"),
    [
        ([], ["a"], {}, "no frames"),
        (None, [""], {}, "expression 0 is empty"),
        (None, ["a", " . "], {}, "expression 1 is empty"),
        (None, [], {}, "at least one sentence"),
        (None, "a", {}, "a list of sentences"),
        (None, ["a"], {"anchor": 9}, "key frame 9 is outside of the video, which has frames 0 to 8"),
        (None, ["a"], {"anchor": [0, 1]}, "2 key frames for 1 expressions"),
    ],
)
def test_bad_input_is_named(model, frames, frames_given, expressions, options, words):
    with pytest.raises(InputError, match=words):
        segment_video(model, frames if frames_given is None else frames_given, expressions, **options)
