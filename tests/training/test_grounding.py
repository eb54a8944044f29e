"""Naming and pointing: by hand, what is asked; on clips, of which tokens, in which phases."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from glus.config import Config, GroundingConfig
from glus.masks import encode_rle
from glus.model.lora import add_lora
from glus.processing.conversation import INFERENCE_ANSWER, INFERENCE_QUESTION, training_prompt
from glus.processing.tokenizer import IMAGE_ID
from glus.processing.tokens import expand_images, place_visual_tokens
from glus.records.split import StagedSplit
from glus.records.tables import write_table
from glus.records.video import Expression
from glus.training.loop.batches import pack, unpack
from glus.training.loop.sampling import Mixture
from glus.training.segmentation.batch import ClipBatch
from glus.training.segmentation.contrastive import TokenBank
from glus.training.segmentation.grounding import Grounding, naming_loss, pointing_loss
from glus.training.segmentation.objectives import ClipObjective
from glus.training.segmentation.phases import build_phases
from glus.training.segmentation.pretraining import AlignmentObjective, ImageObjective
from glus.training.segmentation.referents import Grounder, by_referent, telling_words
from glus.training.segmentation.samples import BatchBuilder, ClipPhaseBatches, SingleQueryBatches


def test_words_that_tell_are_not_said_of_everything():
    assert telling_words([{0, 1, 2}, {0, 1, 3}], 4).tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]
    assert telling_words([{0, 1, 2}, {0, 2}, {2}], 3).tolist() == [[0.5, 0.5, 0], [1, 0, 0], [0, 0, 0]]
    assert telling_words([{1, 2}], 3).tolist() == [[0, 0, 0]]


def test_expressions_of_the_same_annotations_have_one_referent():
    expressions = [
        Expression("v", str(number), "", (), tuple(ids), None) for number, ids in enumerate(("a", "ba", "ab", "a"))
    ]
    assert [[item.expression_id for item in group] for group in by_referent(expressions)] == [["0", "3"], ["1", "2"]]


def test_visual_tokens_name_what_they_show():
    """Two clips of two tokens; of four referents one has two words, one is seen nowhere, one has no words."""
    states = torch.tensor([[3.0, 0.0], [0.0, 1.0], [9.0, 9.0], [2.0, 0.0]])
    words = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 0.0]])
    coverage = torch.tensor([[1.0, 0.25], [0.0, 0.5], [0.0, 0.0], [1.0, 1.0]])

    def minus_log(state: tuple[float, float], word: int) -> float:
        return math.log(sum(map(math.exp, state))) - state[word]

    first = minus_log((3, 0), 0) + 0.25 * minus_log((0, 1), 0)
    second = 0.5 * (minus_log((2, 0), 0) + minus_log((2, 0), 1)) / 2
    grounding = Grounding(torch.tensor([0, 1, 1, 1]), words, coverage, torch.zeros(0), {})
    loss = naming_loss(states, grounding, torch.eye(2))
    assert math.isclose(float(loss), (first + second) / 1.75, rel_tol=1e-5)


@pytest.mark.parametrize("referents", [0, 1])
def test_nothing_is_named_where_no_referent_is_seen(referents):
    grounding = Grounding(torch.zeros(referents, dtype=torch.long), torch.eye(2)[:referents], torch.zeros(referents, 3),
                          torch.zeros(0), {})  # fmt: skip
    assert float(naming_loss(torch.randn(3, 2), grounding, torch.eye(2))) == 0.0


def test_prompts_point_at_their_mask():
    """Four places, a dimension of code each; the second mask lies in two, the third is empty, the last not asked."""
    prompts = torch.tensor([[5.0, 0, 0, 0], [0, 1.0, 0, 2.0], [9.0, 9.0, 9.0, 9.0], [0, 7.0, 0, 0]])
    masks = torch.zeros(4, 1, 4, 4, dtype=torch.bool)
    masks[0, 0, :2, :2] = True  # the first place
    masks[1, 0, :2, 2:] = masks[1, 0, 2:, 3] = True  # the second, and half of the fourth
    masks[3, 0, 2:] = True
    places = torch.eye(4).unflatten(1, (2, 2))
    first = math.log(math.exp(5) + 3) - 5
    all_of_second = math.log(2 + math.exp(1) + math.exp(2))
    second = (all_of_second - 1) * 2 / 3 + (all_of_second - 2) / 3
    pointed = torch.tensor([True, True, True, False])
    loss = pointing_loss(2 * prompts, places, [masks[:1], masks[1:]], pointed)  # 2: the root of four dimensions
    assert math.isclose(float(loss), (first + second) / 2, rel_tol=1e-5)
    assert float(pointing_loss(prompts, places, [masks], pointed & False)) == 0.0


def test_each_query_frame_has_its_own_place():
    """Two frames of one expression: the mask is on the left in the first, on the right in the second."""
    masks = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    masks[0, 0, :, 0] = masks[0, 1, :, 1] = True
    places = math.sqrt(2) * torch.tensor([[[9.0, 0.0]], [[0.0, 9.0]]])
    right, wrong = torch.eye(2), torch.eye(2).flip(0)
    assert float(pointing_loss(right, places, [masks], torch.tensor([True]))) < 1e-3
    assert math.isclose(float(pointing_loss(wrong, places, [masks], torch.tensor([True]))), 9, rel_tol=1e-3)


SAID = (
    (0, "the red one", "opposed"), (1, "the blue one", "opposed"), (0, "the small one", "opposed"),
    (1, "the large one", "appearance"),
)  # fmt: skip


@pytest.fixture
def split(tmp_path):
    """Two clips of six frames: what is red is said to be the left half, what is blue the right one."""
    folder, images = tmp_path / "synthetic" / "train", tmp_path / "frames"
    videos, expressions, masks = [], [], []
    for video in ("a", "b"):
        key = {"dataset": "synthetic", "split": "train", "video_id": video}
        names = [f"{index:05d}" for index in range(6)]
        (images / video).mkdir(parents=True)
        for name in names:
            Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(images / video / f"{name}.jpg")
        videos.append({**key, "num_frames": 6, "height_px": 64, "width_px": 64, "frame_names": names,
                       "frame_dir": video, "grey_frames": []})  # fmt: skip
        for number, (item, text, family) in enumerate(SAID):
            annotation = f"{video}{item}"
            expressions.append({**key, "expression_id": str(number), "expression": text, "family": family,
                                "object_ids": [annotation], "annotation_ids": [annotation]})  # fmt: skip
        for item in range(2):
            annotation, mask = f"{video}{item}", np.zeros((64, 64), bool)
            mask[:, 32 * item : 32 * item + 32] = True
            masks += [{**key, "annotation_id": annotation, "frame_index": frame, "height_px": 64, "width_px": 64,
                       "rle_counts": encode_rle(mask), "area_px": 2048} for frame in range(6)]  # fmt: skip
    for table, rows in (("videos", videos), ("expressions", expressions), ("masks", masks)):
        write_table(table, rows, folder / f"{table}.parquet")
    return StagedSplit(folder, images)


def conversation(model, expression: str) -> list[int]:
    prompt = training_prompt(expression, 2, [INFERENCE_QUESTION], [INFERENCE_ANSWER])
    return expand_images(model.tokenizer.encode_with_images(prompt), model.mllm.tokens_per_frame)


def builder_of(model, families: list[str], naming: float, pointing: float) -> BatchBuilder:
    tokenizer, per_frame = model.tokenizer, model.mllm.tokens_per_frame
    config = GroundingConfig(families=families, naming=naming, pointing=pointing)
    ground = Grounder(config, tokenizer, model.mllm.num_patches, per_frame) if families else None
    return BatchBuilder(tokenizer, model.transform, per_frame, ground=ground)


def batch_of(
    model, split: StagedSplit, families: list[str], number: int, naming: float = 1, pointing: float = 1
) -> ClipBatch:
    return SingleQueryBatches(
        "alignment", Mixture([(split, 1.0)], [], min_frames=1), builder_of(model, families, naming, pointing),
        seed=0, num_samples=3, num_context_frames=2, max_expressions=3, vary_conversation=False,
    )(number)  # fmt: skip


@pytest.fixture
def batch(model, split) -> ClipBatch:
    return batch_of(model, split, ["opposed"], 7)


def states_before_last(model, clip_pixels: torch.Tensor) -> torch.Tensor:
    """Of visual tokens, normed, [clips * tokens, D], in transformers' own way."""
    mllm, llama = model.mllm, model.language_model.model
    ids = torch.tensor([conversation(model, "red one")] * len(clip_pixels))
    tokens = mllm.project(mllm.encode_frames(clip_pixels.flatten(0, 1))).unflatten(0, (len(ids), -1)).flatten(1, 2)
    placed = place_visual_tokens(llama.embed_tokens(ids.clamp(min=0)), ids, tokens)
    before = llama(inputs_embeds=placed, output_hidden_states=True).hidden_states[-2]
    return llama.norm(before)[ids == IMAGE_ID]


def test_a_batch_says_of_each_referent_what_is_said_of_it_alone(model, batch):
    """Whichever expressions are drawn, and not what other families say."""
    found = batch.grounding
    assert batch.clip_pixels.shape[:2] == (3, 3) and found.clip_of.tolist() == [0, 0, 1, 1, 2, 2]
    left, right = found.coverage[0::2], found.coverage[1::2]
    assert torch.equal(left + right, torch.ones(3, 3 * model.mllm.tokens_per_frame)) and 0 < left.sum() == right.sum()
    encode = model.tokenizer.encode
    red, blue = {*encode("red one"), *encode("small one")}, {*encode("blue one")}
    for number, own in enumerate((red - blue, blue - red)):
        for row in found.words[number::2]:
            assert {*row.nonzero()[:, 0].tolist()} == own
            assert math.isclose(float(row.sum()), 1, rel_tol=1e-5)


def test_only_sentences_of_its_families_have_to_point(model, split):
    drawn = [(keys[0].expression_id, bool(pointed)) for number in range(4)
             for batch in [batch_of(model, split, ["opposed"], number)]
             for keys, pointed in zip(batch.keys, batch.grounding.pointed, strict=True)]  # fmt: skip
    assert {*drawn} == {("0", True), ("1", True), ("2", True), ("3", False)}
    model.requires_grad_(False)
    none = batch_of(model, split, ["motion"], 7)
    assert not none.grounding.pointed.any() and len(none.grounding.words) == 0
    found = AlignmentObjective(model, 0.5)(none)
    assert float(found["naming"]) == float(found["pointing"]) == 0.0
    assert math.isclose(float(found["loss"]), 0.5 * float(found["word_prediction"]), rel_tol=1e-6)


def test_visual_tokens_are_read_as_in_plain_conversations(model, split, batch):
    """Before the last layer, as transformers computes them."""
    model.requires_grad_(False)
    expected = naming_loss(
        states_before_last(model, batch.clip_pixels), batch.grounding, model.language_model.model.embed_tokens.weight
    )
    found = AlignmentObjective(model, 0.0)(batch_of(model, split, ["opposed"], 7, naming=2, pointing=0))
    assert math.isclose(float(found["naming"]), float(expected), rel_tol=1e-4)
    assert math.isclose(float(found["loss"]), 2 * float(expected), rel_tol=1e-4)


def test_all_but_the_mask_branch_and_the_lm_head_learn_from_it(model, batch):
    model.requires_grad_(True)
    AlignmentObjective(model, 0.0)(batch)["loss"].backward()
    moved = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    for part in ("mllm.vision_tower", "mllm.mm_projector", "mllm.language_model.model", "text_hidden_fcs"):
        assert any(name.startswith(part) for name in moved), part
    assert not any(name.startswith("masks") or "lm_head" in name for name in moved)


def test_the_image_phase_asks_the_same_beside_its_own(model, config, split):
    """Its loss grows by what naming and pointing are worth; all else is as without."""
    model.requires_grad_(False)
    objective, batch = ImageObjective(model, config.train.loss, 0.5), batch_of(model, split, ["opposed"], 7, 0.25, 0.75)
    plain, both = objective(batch_of(model, split, [], 7)), objective(batch)
    alone = AlignmentObjective(model, 0.0)(batch)
    assert plain.keys() == {"loss", "ce", "bce", "dice", "word_prediction"}
    assert both.keys() == plain.keys() | {"naming", "pointing"}
    assert math.isclose(float(both["loss"]), float(plain["loss"] + alone["loss"]), rel_tol=1e-4)
    assert all(math.isclose(float(both[name]), float(plain[name]), rel_tol=1e-4) for name in plain.keys() - {"loss"})


def test_the_clip_phase_asks_the_same_beside_its_own(model, config, split):
    """Windows of two query frames: what follows the words of the first names nothing."""
    model.requires_grad_(False)

    def losses(families: list[str]) -> tuple[ClipBatch, dict[str, torch.Tensor]]:
        batch = ClipPhaseBatches(
            Mixture([(split, 1.0)], [], min_frames=2), builder_of(model, families, 0.25, 0.75), seed=0, num_samples=3,
            num_context_frames=2, num_query_frames=2, max_expressions=3, reverse=0.0, into_ambiguous=0.0,
            vary_conversation=False,
        )(5)  # fmt: skip
        train, bank = config.train, TokenBank(8)
        return batch, ClipObjective(model, train.loss, train.contrastive, None, bank)(batch)

    _, plain = losses([])
    batch, both = losses(["opposed"])
    assert both.keys() == plain.keys() | {"naming", "pointing"}
    asked = 0.25 * both["naming"] + 0.75 * both["pointing"]
    assert math.isclose(float(both["loss"]), float(plain["loss"] + asked), rel_tol=1e-4)
    per_frame = model.mllm.tokens_per_frame
    shown = batch.grounding.coverage.unflatten(1, (4, per_frame)).sum(dim=(0, 2))
    assert shown[:3].min() > 0 and shown[3] == 0


def test_the_phases_that_ask_come_from_parameters(model, config, split):
    """Alignment comes first and leaves the mask branch alone; what a worker packs asks the same."""
    values = config.model_dump(mode="json")
    values["train"]["grounding"] |= {"families": ["opposed"], "naming": 0.5, "pointing": 0.25}
    for name in ("alignment", "image", "tracking", "clip"):
        values["train"][name] |= {"steps": 1, "families": []}
    values["train"]["alignment"] |= {"samples": 2, "num_context_frames": 3, "word_prediction": 0.125}
    train = Config.model_validate(values).train
    add_lora(model.language_model, config.model.lora)
    phases = build_phases(model, [(split, 1.0)], TokenBank(8), train=train, shape=config.model, seed=0)
    assert [phase.name for phase in phases] == ["alignment", "image", "tracking", "clip"]
    alignment = phases[0]
    assert {name.split(".")[0] for name in alignment.parameters} == {"mllm", "text_hidden_fcs"}
    assert not any("lm_head" in name for name in alignment.parameters)
    drawn = alignment.batch(3)
    assert drawn.clip_pixels.shape[:2] == (2, 4)
    found, packed = (alignment.loss(batch) for batch in (drawn, unpack(pack(drawn)).to(torch.device("cpu"))))
    assert all(torch.equal(found[name], packed[name]) for name in found)
    weighted = 0.125 * found["word_prediction"] + 0.5 * found["naming"] + 0.25 * found["pointing"]
    assert math.isclose(found["loss"].item(), weighted.item(), rel_tol=1e-5)
    assert phases[1].batch(0).grounding is not None and phases[3].batch(0).grounding is not None
