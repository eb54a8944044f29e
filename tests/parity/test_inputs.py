"""What goes into the model equals the published implementation: ids, prompts, frames, pixels, memory indices."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from glus.inference.passes import pass_frames
from glus.inference.published_names import published_sources
from glus.media.sources import open_frames
from glus.model.memory import memory_frames
from glus.model.sam2 import load_sam2_config
from glus.processing.context_frames import centre_context_frames
from glus.processing.conversation import ANSWERS, CONTEXT, QUESTIONS, SYSTEM, inference_prompt
from glus.processing.conversation import training_prompt as build_training_prompt
from glus.processing.sentences import asked_of_glus, taught_to_glus
from glus.processing.transforms import FrameTransform
from glus.weights.released import SETTINGS
from tests.parity.differences import largest, thinned, within

NC, NQ = SETTINGS.num_context_frames, SETTINGS.num_query_frames
PADDING = -999


def test_special_tokens(goldens):
    expected = goldens.section("model")["special_token_ids"]
    assert {token: goldens.tokenizer.token_id(token) for token in expected} == expected
    assert len(goldens.tokenizer) == goldens.section("model")["vocab_size"]


def test_tokenizer_ids(goldens):
    for case in goldens.table("tokenizer")["cases"]:
        assert goldens.tokenizer.encode(case["text"]) == case["ids_with_bos"], case["text"]


def test_texts_of_the_conversation(goldens):
    templates = goldens.table("templates")
    assert templates["CONTEXT_INFO_LIST"] == ["<image>" * NC + CONTEXT]
    assert templates["SHORT_QUESTION_LIST"] == [f"<image>{text.format('{class_name}')}" for text in QUESTIONS]
    assert templates["ANSWER_LIST"] == list(ANSWERS)
    assert templates["conv_llava_v1"]["system"] == SYSTEM


def test_training_prompts(goldens):
    """Prompts of one template each, whose answers the prompt itself tells."""
    for case in goldens.table("prompts")["cases"]:
        assert goldens.tokenizer.encode_with_images(case["prompt"]) == case["ids"], case["prompt"]
        if case["kind"] == "training":
            answers = [ANSWERS.index(text) for text in re.findall(r"ASSISTANT: (.*?)</s>", case["prompt"])]
            text = taught_to_glus(case["expression"])
            assert build_training_prompt(text, NC, [case["template"]] * NQ, answers) == case["prompt"]


def test_inference_prompts_of_every_step(goldens):
    for case in goldens.section("inference"):
        golden = goldens.arrays(case["expected"]["arrays"])["input_ids"]
        for first, end in (step_range["steps"] for step_range in case["passes"]):
            for step in range(first, end):
                window = min(step - first + 1, NQ)
                prompt = inference_prompt(asked_of_glus(case["expression"]), NC, window, trailing_space=True)
                expected = [token for token in golden[step].tolist() if token != PADDING]
                assert goldens.tokenizer.encode_with_images(prompt) == expected, (case["id"], step)


def test_context_frames_passes_and_written_files(goldens):
    for name, row in goldens.table("context_and_pass_frames")["table"].items():
        if row.get("error"):
            continue
        num_frames, anchor = (int(number) for number in re.findall(r"\d+", name))
        if context := row.get("context"):
            assert centre_context_frames(num_frames, NC) == [frame % num_frames for frame in context], name
        if "forward_frames" in row:
            runs = [run for run in (row["forward_frames"], row.get("backward_frames")) if run]
            assert [[run[0], run[-1], len(run)] for run in pass_frames(num_frames, anchor)] == runs, name
        written = [source for source in published_sources(num_frames, anchor) if source is not None]
        assert len(written) == row.get("n_files_written", len(written)), name


def test_memory_frames(goldens):
    for stride, table in goldens.table("memory_indices")["table"].items():
        rows = table.items() if isinstance(table, dict) else enumerate(table)
        [number] = re.findall(r"\d+", stride)
        for frame, expected in rows:
            assert memory_frames(int(frame), int(number)) == expected, (stride, frame)


@pytest.mark.parametrize("kind", ["features", "large_frame"])
def test_pixels(goldens, kind):
    case = goldens.section(kind)
    processor = AutoImageProcessor.from_pretrained(goldens.clip, backend="pil")
    transform = FrameTransform(processor, load_sam2_config(goldens.sam2_config)["image_size"])
    frames = open_frames(goldens.folder / case["frames"])
    golden = goldens.arrays(case["expected"])
    clip, sam2 = transform.clip(frames).numpy(), sam2_pixels(transform, frames, golden)[0].numpy()
    name, row = numbered(golden, "clip_pixels_f32_row")
    apart = largest(clip[:, :, row].reshape(golden[name].shape), golden[name])
    within(kind, "CLIP pixels", apart, goldens.tolerance("inference", "clip_pixels_f32_row112"))
    assert_grey_levels(processor, clip, golden["clip_pixels_u8"])
    tolerance = goldens.tolerance("inference", "sam_pixels_s16")
    within(
        kind,
        "SAM-2 pixels",
        largest(thinned(sam2, golden["sam_pixels_s16"].shape), golden["sam_pixels_s16"]),
        tolerance,
    )
    name, row = numbered(golden, "sam_pixels_row")
    within(kind, "SAM-2 pixels", largest(sam2[:, row], golden[name]), tolerance)


def sam2_pixels(transform: FrameTransform, frames: list[Image.Image], golden: dict[str, np.ndarray]) -> torch.Tensor:
    """Pixels of the one frame that the golden shows to SAM-2, [1, 3, S, S]: whichever it is nearest to."""
    theirs = golden["sam_pixels_s16"]

    def apart(pixels: torch.Tensor) -> float:
        return largest(thinned(pixels[0].numpy(), theirs.shape), theirs)

    return min((transform.sam2([frame]) for frame in frames), key=apart)


def numbered(golden: dict[str, np.ndarray], prefix: str) -> tuple[str, int]:
    """The array whose name is a prefix and the number of an image row."""
    [name] = [name for name in golden if re.fullmatch(rf"{prefix}\d+", name)]
    return name, int(name.removeprefix(prefix))


def assert_grey_levels(processor, clip: np.ndarray, golden: np.ndarray) -> None:
    """Each picture of the golden is that of some frame, to the last grey level."""
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (processor.image_mean, processor.image_std))
    levels = np.rint((clip * std + mean) * 255)
    for picture in golden.reshape(-1, *golden.shape[-3:]):
        assert (levels == picture).all(axis=(1, 2, 3)).any()


@torch.no_grad()
def test_features(goldens):
    """What both encoders make of the frames: CLIP's patches, pooled, as visual tokens; SAM-2's levels and positions."""
    case = goldens.section("features")
    golden, model = goldens.arrays(case["expected"]), goldens.model("lost")
    frames = open_frames(goldens.folder / case["frames"])
    pixels = model.transform.clip(frames)
    pooled = model.mllm.encode_frames(pixels)
    levels = model.masks.encode(sam2_pixels(model.transform, frames, golden))
    found = {
        "clip_features_s16": model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:],
        "clip_pooled": pooled,
        "img_tokens": model.mllm.project(pooled),
        "sam_fpn0": levels.stride4[0],
        "sam_fpn1": levels.stride8[0],
        "sam_fpn2": levels.stride16[0],
    }
    for name, tensor in found.items():
        apart = largest(thinned(tensor.numpy(), golden[name].shape), golden[name])
        within("features", name, apart, goldens.tolerance("inference", name))
    if (theirs := golden.get("sam_pos2_s4")) is not None:
        apart = largest(thinned(levels.position[0].numpy(), theirs.shape), theirs)
        within("features", "sam_pos2", apart, goldens.tolerance("inference", "sam_fpn2"))
