"""The language model in 8 and 4 bits."""

import sys

import pytest
import torch

from glus import segment_video
from glus.errors import GlusError
from glus.inference.quantised import quantise

TEXTS = ["the red circle", "The small green square."]


@pytest.mark.parametrize(("bits", "stored", "moved"), [(8, torch.int8, 0.1), (4, torch.uint8, 0.6)])
def test_few_bits_move_the_answers_a_little_and_touch_the_layers_only(always_seg, frames, bits, stored, moved):
    pytest.importorskip("bitsandbytes", reason="the optional library bitsandbytes is not installed")
    exact = segment_video(always_seg, frames[:6], TEXTS)
    always_seg.mllm.to(torch.bfloat16)
    language = always_seg.language_model
    quantise(always_seg, bits, "cpu")
    assert {layer.self_attn.q_proj.weight.dtype for layer in language.model.layers} == {stored}
    assert {layer.mlp.down_proj.weight.dtype for layer in language.model.layers} == {stored}
    assert language.lm_head.weight.dtype == language.get_input_embeddings().weight.dtype == torch.bfloat16
    found = segment_video(always_seg, frames[:6], TEXTS)
    apart = abs(found.seg_embeddings - exact.seg_embeddings).mean()
    assert 0 < apart < moved * exact.seg_embeddings.std()


def test_without_the_library_that_is_said(always_seg, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(GlusError, match="need the library bitsandbytes, which cannot be loaded"):
        quantise(always_seg, 8, "cpu")
