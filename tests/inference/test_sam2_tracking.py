"""Table 6: masks that SAM-2 carries on from the key frame, against its moves one by one, and resumed."""

import numpy as np
import torch

from glus.inference.passes import PropagationSettings
from glus.inference.session import VideoSession
from glus.inference.tracking import Sam2Tracker
from glus.model.memory import MemoryBank

TEXTS = ["the red circle", "the small green square"]
SAM2 = PropagationSettings(dynamic_multimask=False, memory_stride=2, tracker=Sam2Tracker)
KEY_FRAME = 4


def tracked(model, frames, settings=SAM2):
    """Logits by (way, frame): 0 is forward, 1 backward."""
    session = VideoSession(model, frames, settings)
    for text in TEXTS:
        session.add(text, key_frame=KEY_FRAME)
    return {frame.index: frame for frame in session}


@torch.inference_mode()
def by_hand(model, frames, prompts, order) -> dict[int, np.ndarray]:
    """The key frame by its prompts, the others by memory and SAM-2's own "not a point"."""
    masks, found = model.masks, {}
    silence = masks.sam2.sam_prompt_encoder.not_a_point_embed.weight.expand(len(prompts), -1)
    bank = MemoryBank(2)
    for step, frame in enumerate(order):
        pixels = model.transform.sam2([frames[frame]]).repeat(len(prompts), 1, 1, 1)
        features = masks.encode(pixels)
        conditioned = masks.condition(features, bank.read(step))
        logits = masks.decode(conditioned, features, silence if step else prompts, dynamic_multimask=False)
        bank.write(step, masks.remember(conditioned, logits))
        found[frame] = logits.numpy()
    return found


def test_sam2_carries_the_masks_of_the_key_frame_both_ways(always_seg, frames):
    found = tracked(always_seg, frames)
    prompts = torch.from_numpy(found[KEY_FRAME].seg_embeddings)
    for order in (range(KEY_FRAME, 9), range(KEY_FRAME, -1, -1)):
        for frame, logits in by_hand(always_seg, frames, prompts, order).items():
            assert np.allclose(found[frame].logits, logits, atol=1e-3)
    glus = tracked(always_seg, frames, PropagationSettings(dynamic_multimask=False, memory_stride=2))
    assert np.allclose(found[KEY_FRAME].logits, glus[KEY_FRAME].logits, atol=1e-4)
    assert not np.allclose(found[KEY_FRAME + 1].logits, glus[KEY_FRAME + 1].logits, atol=1e-2)


def test_the_language_model_is_read_at_the_key_frame_alone(always_seg, frames, monkeypatch):
    read, windows = always_seg.mllm.read_frames, []
    monkeypatch.setattr(always_seg.mllm, "read_frames", lambda *given: windows.append(len(given[0])) or read(*given))
    tracked(always_seg, frames)
    assert windows == [1, 1]  # once for each way, though the video has 9 frames


def test_a_sentence_that_is_not_spoken_of_at_the_key_frame_is_not_tracked(always_seg, frames, monkeypatch):
    logits, calls = always_seg.seg_logits, iter([True, False, False, False])  # by sentence, forward, then backward

    def first_only(hidden):
        values = logits(hidden)
        if not next(calls):
            values[:, always_seg.seg_id] = -1e9
        return values

    monkeypatch.setattr(always_seg, "seg_logits", first_only)
    found = tracked(always_seg, frames)
    assert found[6].seg_token_generated.tolist() == [True, False] and np.isnan(found[6].logits[1]).all()
    assert found[2].seg_token_generated.tolist() == [False, False]  # on the way back it was not spoken of


def test_a_tracked_session_resumes_where_it_stood(always_seg, frames):
    whole = tracked(always_seg, frames)
    begun, resumed = (VideoSession(always_seg, frames, SAM2) for _ in range(2))
    for session in (begun, resumed):
        for text in TEXTS:
            session.add(text, key_frame=KEY_FRAME)
    for _ in range(3):
        next(begun)
    resumed.restore(begun.state())
    for frame in resumed:
        assert np.array_equal(frame.masks, whole[frame.index].masks)
