"""What goes into the model equals the published implementation: ids, prompts, frames, pixels, memory indices."""

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor

from glus import GLUS
from glus.data.conversation import inference_prompt, normalise_expression, training_prompt
from glus.data.frames import load_frames
from glus.data.sampling import centre_context_frames
from glus.data.transforms import FrameTransform
from glus.model.memory import memory_frames
from tests.parity.differences import within


def test_tokenizer_ids(goldens):
    for case in goldens.tables["tokenizer"]["cases"]:
        assert goldens.tokenizer.encode(case["text"]) == case["ids_with_bos"], case["text"]


def test_training_prompts(goldens):
    for case in goldens.tables["prompts"]["cases"]:
        template = case["template"]
        answers = [(template + frame) % 5 for frame in range(4)]
        prompt = training_prompt(normalise_expression(case["expression"].strip()), 4, [template] * 4, answers)
        assert prompt == case["prompt"]
        assert goldens.tokenizer.encode_with_images(prompt) == case["ids"]


def test_inference_prompts_of_every_step(goldens):
    for case in goldens.cases["inference"]:
        golden = goldens.arrays(case["expected"]["arrays"])["input_ids"]
        for first, end in (step_range["steps"] for step_range in case["passes"]):
            for step in range(first, end):
                window = min(step - first + 1, 4)
                text = normalise_expression(case["expression"])
                prompt = inference_prompt(text, 4, window, trailing_space=True)
                expected = [token for token in golden[step].tolist() if token != -999]
                assert goldens.tokenizer.encode_with_images(prompt) == expected, (case["id"], step)


def test_context_frames(goldens):
    for name, row in goldens.tables["context_and_pass_frames"]["table"].items():
        num_frames = int(name.split(",")[0].removeprefix("T="))
        expected = [frame % num_frames for frame in row["context"]]
        assert centre_context_frames(num_frames, 4) == expected, name


def test_memory_frames(goldens):
    for stride, table in goldens.tables["memory_indices"]["table"].items():
        rows = table.items() if isinstance(table, dict) else enumerate(table)
        for frame, expected in rows:
            assert memory_frames(int(frame), int(stride.strip("r="))) == expected, (stride, frame)


@pytest.mark.parametrize("kind", ["features", "large_frame"])
def test_pixels(goldens, kind):
    case = goldens.cases[kind]
    processor = AutoImageProcessor.from_pretrained(goldens.folder / "clip", backend="pil")
    transform = FrameTransform(processor, 1024)
    frames = load_frames(goldens.folder / case["frames"])
    golden = goldens.arrays(case["expected"])
    clip = transform.clip(frames)[:, :, 112].numpy().reshape(golden["clip_pixels_f32_row112"].shape)
    within(kind, "CLIP pixels", float(np.abs(clip - golden["clip_pixels_f32_row112"]).max()), 1e-6)
    sam2 = transform.sam2(frames[:1])[0].numpy()
    within(kind, "SAM-2 pixels", float(np.abs(sam2[:, ::16, ::16] - golden["sam_pixels_s16"]).max()), 1e-5)
    within(kind, "SAM-2 pixels", float(np.abs(sam2[:, 512] - golden["sam_pixels_row512"]).max()), 1e-5)


@torch.no_grad()
def test_features(goldens):
    """What both encoders make of the frames: pooled CLIP features, visual tokens, SAM-2's three levels."""
    case, names = goldens.cases["features"], goldens.cases["model"]
    golden = goldens.arrays(case["expected"])
    model = GLUS.from_pretrained(
        goldens.folder / names["checkpoint"],
        vision_tower=goldens.folder / names["clip"],
        sam2_config=str(goldens.folder / names["sam2_config"]),
    )
    frames = load_frames(goldens.folder / case["frames"])
    pooled = model.mllm.encode_frames(model.transform.clip(frames))
    levels = model.masks.encode(model.transform.sam2(frames[:1]))
    found = {
        "clip_pooled": pooled,
        "img_tokens": model.mllm.project(pooled),
        "sam_fpn0": levels.stride4[0, :, ::16, ::16],
        "sam_fpn1": levels.stride8[0, :, ::8, ::8],
        "sam_fpn2": levels.stride16[0, :, ::4, ::4],
    }
    tolerances = goldens.cases["tolerances"]["inference"]
    for name, tensor in found.items():
        within("features", name, float(np.abs(tensor.numpy() - golden[name]).max()), tolerances[name]["tolerance"])
