"""One training batch: states, masks, losses and gradients of the published training forward."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from glus import GLUS
from glus.config import ContrastiveConfig, LoraConfig, LossConfig, MemoryConfig, load_config
from glus.masks import decode_rle, union
from glus.media.sources import open_frames
from glus.model.conversations import pack_conversations
from glus.model.lora import add_lora
from glus.model.sam2 import resize_logits
from glus.processing.tokens import expand_images, pad_ids
from glus.training.segmentation import objectives
from glus.training.segmentation.batch import ClipBatch, TokenKey
from glus.training.segmentation.contrastive import TokenBank
from glus.training.segmentation.losses import bce_per_mask, dice_per_mask
from glus.training.segmentation.objectives import ClipObjective, segment_window
from tests.conftest import ROOT
from tests.parity.conftest import GlusGoldens
from tests.parity.differences import largest, thinned, unpacked, within

PUBLISHED_NAMES = (
    ("mllm.language_model.lm_head.", "lm_head."),
    ("mllm.language_model.", ""),
    ("mllm.mm_projector.", "model.mm_projector."),
    ("text_hidden_fcs.", "model.text_hidden_fcs.0."),
    ("masks.sam2.", "model.visual_model."),
)
PARTS = ("lora_", "embed_tokens", "lm_head", "mm_projector", "text_hidden_fcs", "sam_mask_decoder")  # published
TERMS = {"ce": "ce_loss", "bce": "mask_bce_loss", "dice": "mask_dice_loss", "contrastive": "contrastive_loss"}
ALMOST_ZERO = 1e-3  # gradients of this norm are rounding, see `tolerances`


@dataclass
class TrainingStep:
    """One step of the golden batch through `ClipObjective`, with what it computes on the way."""

    model: GLUS
    batch: ClipBatch
    losses: dict[str, Tensor] = field(default_factory=dict)
    terms: dict[str, Tensor] = field(default_factory=dict)  # unweighted, differentiable
    hidden: Any = None
    features: Any = None
    logits: Any = None  # float [B, Nq, h, w]
    seen: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))  # by query frame

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Keeps what the parts of the objective return from now on."""

        def watched(owner: Any, name: str, keep: Callable[[Any], None]) -> None:
            call = getattr(owner, name)

            def watching(*arguments: Any, **options: Any) -> Any:
                output = call(*arguments, **options)
                keep(output)
                return output

            patch.setattr(owner, name, watching)

        watched(objectives, "seg_hidden", lambda states: setattr(self, "hidden", states))
        watched(objectives, "encode_clip", lambda features: setattr(self, "features", features))
        watched(objectives, "segment_window", lambda logits: setattr(self, "logits", logits))
        watched(objectives, "seg_cross_entropy", lambda loss: self.terms.update(ce=loss))
        watched(objectives, "mask_losses", lambda pair: self.terms.update(bce=pair[0], dice=pair[1]))
        watched(objectives, "contrastive_loss", lambda loss: self.terms.update(contrastive=loss))
        watched(self.model.masks, "condition", lambda grid: self.seen["conditioned"].append(grid.detach()))
        watched(self.model.masks, "remember", lambda memory: self.seen["memory"].append(memory.features.detach()))


@pytest.fixture(scope="module")
def case(goldens: GlusGoldens) -> dict[str, Any]:
    return goldens.section("training")


@pytest.fixture(scope="module")
def golden(goldens: GlusGoldens, case: dict[str, Any]) -> dict[str, np.ndarray]:
    return goldens.arrays(case["expected"]["arrays"])


@pytest.fixture(scope="module")
def record(goldens: GlusGoldens, case: dict[str, Any]) -> dict[str, Any]:
    return json.loads((goldens.folder / case["expected"]["record"]).read_text())


@pytest.fixture(scope="module")
def step(
    goldens: GlusGoldens, case: dict[str, Any], golden: dict[str, np.ndarray], record: dict[str, Any]
) -> Iterator[TrainingStep]:
    model = goldens.load(case["gamma"])
    lora = LoraConfig(rank=case["lora_rank"], alpha=case["lora_alpha"], dropout=0.0, targets=["q_proj", "v_proj"])
    add_lora(model.language_model, lora)
    load_lora(model, goldens, case)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in name for part in PARTS))
    contrastive = contrastive_of(case)
    bank = TokenBank(contrastive.bank_size)
    fill_bank(bank, goldens, case, golden, record)
    weights = LossConfig(**{name: case["loss_weights"][name] for name in ("ce", "bce", "dice")})
    memory = MemoryConfig(train_stride=case["memory_stride"], max_strided=6, detach=True)
    objective = ClipObjective(model, weights, contrastive, memory, bank, pick=replay(record))
    step = TrainingStep(model, build_batch(model, goldens, case, record))
    with pytest.MonkeyPatch.context() as patch:
        step.watch(patch)
        step.losses = objective(step.batch)
        with torch.no_grad():  # training does not remember the last frame, the published code does
            model.masks.remember(step.seen["conditioned"][-1], step.logits[:, -1])
    step.losses["loss"].backward(retain_graph=True)
    yield step


def contrastive_of(case: dict[str, Any]) -> ContrastiveConfig:
    """The preset's bank and temperature, which are the published ones, and the published faults."""
    preset = load_config(ROOT / "glus" / "presets" / "glus_s.yaml").train.contrastive
    published = {"same_object_negatives": True, "single_contributor": False}
    return preset.model_copy(update={"weight": case["loss_weights"]["contrastive"], **published})


def load_lora(model: GLUS, goldens: GlusGoldens, case: dict[str, Any]) -> None:
    weights = load_file(goldens.folder / case["lora"])
    parameters = dict(model.named_parameters())
    for name, tensor in weights.items():
        short = name.split("model.layers.")[1].replace(".default.", ".").replace(".weight", ".default.weight")
        parameters[f"mllm.language_model.model.layers.{short}"].data.copy_(tensor)


def object_sets(goldens: GlusGoldens, case: dict[str, Any]) -> dict[tuple[str, str], frozenset[str]]:
    """(video, expression) -> its objects."""
    videos = json.loads((goldens.folder / case["annotations"][0]).read_text())["videos"]
    return {
        (video, number): frozenset(map(str, expression["obj_id"]))
        for video, entry in videos.items()
        for number, expression in entry["expressions"].items()
    }


def key(str_id: str, frame: str, objects: dict[tuple[str, str], frozenset[str]]) -> TokenKey:
    _, video, expression = str_id.split("_", 2)
    return TokenKey(video, expression, frame, objects.get((video, expression), frozenset([str_id])))


def fill_bank(
    bank: TokenBank,
    goldens: GlusGoldens,
    case: dict[str, Any],
    golden: dict[str, np.ndarray],
    record: dict[str, Any],
) -> None:
    objects = object_sets(goldens, case)
    names = [key(entry["str_id"], entry["frame_id"], objects) for entry in record["token_bank_prefill"]]
    bank.insert(names, torch.from_numpy(golden["bank_vectors"]))


def replay(record: dict[str, Any]) -> Callable[[int, int], list[int]]:
    """The drawn indices of the published run, in its order: negatives, then the positive."""

    def drawn() -> Iterator[tuple[list[int], int]]:
        for entry in record["contrastive_log"]:
            if entry["loss"] is not None:
                yield entry["negative_indices"], entry["n_negatives"]
                yield [entry["positive_index"]], entry["n_positives"]

    draws = drawn()

    def pick(count: int, population: int) -> list[int]:
        indices, expected = next(draws)
        assert (len(indices), expected) == (count, population)
        return indices

    return pick


def build_batch(model: GLUS, goldens: GlusGoldens, case: dict[str, Any], record: dict[str, Any]) -> ClipBatch:
    rows = [
        expand_images(model.tokenizer.encode_with_images(text), model.mllm.tokens_per_frame)
        for text in record["conversations_after_im_start_end"]
    ]
    clip_of = [number for number, item in enumerate(case["samples"]) for _ in item["str_ids"]]
    objects = object_sets(goldens, case)
    clip_pixels, sam2_pixels, targets, keys = [], [], [], []
    for sample, names in zip(case["samples"], record["sampled_frames"], strict=True):
        frames = open_frames(goldens.folder / sample["frames"])
        query = [frames[index] for index in sample["query_frames"]]
        clip_pixels.append(model.transform.clip([frames[index] for index in sample["context_frames"]] + query))
        sam2_pixels.append(model.transform.sam2(query))
        targets.append(target_masks(goldens, case, sample, frames[0].size))
        keys += [tuple(key(str_id, name, objects) for name in names) for str_id in sample["str_ids"]]
    return ClipBatch(
        clip_pixels=torch.stack(clip_pixels),
        sam2_pixels=torch.stack(sam2_pixels),
        input_ids=pad_ids(rows, model.tokenizer.pad_id),
        conversations=pack_conversations(
            rows, clip_of, clip_pixels[0].shape[0] * model.mllm.tokens_per_frame, seg_positions(rows, model.seg_id)
        ),
        clip_of=torch.tensor(clip_of),
        targets=tuple(targets),
        keys=tuple(keys),
    )


def seg_positions(rows: list[list[int]], seg_id: int) -> list[list[int]]:
    """Positions before each [SEG]."""
    return [[position - 1 for position, token in enumerate(row) if token == seg_id] for row in rows]


def target_masks(
    goldens: GlusGoldens, case: dict[str, Any], sample: dict[str, Any], size: tuple[int, int]
) -> torch.Tensor:
    """Unions of the annotations of each expression of a sample, bool [n, Nq, H, W]."""
    expressions, tracks = (json.loads((goldens.folder / file).read_text()) for file in case["annotations"])
    width, height = size
    masks = []
    for str_id in sample["str_ids"]:
        expression = expressions["videos"][sample["video"]]["expressions"][str_id.split("_", 2)[2]]
        own = [tracks[str(number)] for number in expression["anno_id"]]
        for frame in sample["query_frames"]:
            visible = (decode_rle(track[frame]["counts"], height, width) for track in own if track[frame])
            masks.append(union(visible, height, width))
    return torch.from_numpy(np.stack(masks).reshape(len(sample["str_ids"]), -1, height, width))


def test_what_is_trained_on(
    goldens: GlusGoldens,
    case: dict[str, Any],
    golden: dict[str, np.ndarray],
    record: dict[str, Any],
    step: TrainingStep,
) -> None:
    """Ids, positions that predict [SEG], ground truth."""
    ids, mask = golden["input_ids"], golden["attention_mask"].astype(bool)
    for row, text in enumerate(record["conversations_after_im_start_end"]):
        assert goldens.tokenizer.encode_with_images(text) == ids[row][mask[row]].tolist()
    positions = seg_positions(step.batch.input_ids.tolist(), step.model.seg_id)
    assert np.array_equal(positions, golden["seg_positions_expanded"])
    for number, target in enumerate(step.batch.targets):
        packed = golden[f"gt_masks_packed/sample{number}"]
        assert np.array_equal(target.numpy(), unpacked(packed, *target.shape)[0])


def test_states_and_embeddings(goldens: GlusGoldens, golden: dict[str, np.ndarray], step: TrainingStep) -> None:
    with torch.no_grad():
        prompts = step.model.seg_prompts(step.hidden.seg)
        logits = step.model.seg_logits(step.hidden.last)
    each = torch.logsumexp(logits, dim=-1) - logits[..., step.model.seg_id]
    found = {"seg_hidden": step.hidden.last.detach(), "seg_embed": prompts, "ce_each": each}
    for name, ours in found.items():
        within("training", name, largest(ours.numpy(), golden[name]), goldens.tolerance("training", name))


def test_masks_and_memory(goldens: GlusGoldens, golden: dict[str, np.ndarray], step: TrainingStep) -> None:
    clips = [step.batch.clip_of == number for number in range(len(step.batch.targets))]
    logits, memory, conditioned = step.logits.detach(), step.seen["memory"], step.seen["conditioned"]
    compared = 0
    for frame in range(logits.shape[1]):
        found = {f"pix_feat_cond_s512/frame{frame}": conditioned[frame].flatten(2).permute(2, 0, 1)}
        for number, clip in enumerate(clips):
            found[f"low_res_s8/frame{frame}_sample{number}"] = logits[clip, frame]
            found[f"mem_feat_s16/frame{frame}_sample{number}"] = memory[frame][clip]
            for row, mask in enumerate(logits[clip, frame]):
                found[f"low_res_full/frame{frame}_sample{number}_exp{row}"] = mask
        for name in found.keys() & golden.keys():
            ours, quantity = thinned(found[name].numpy(), golden[name].shape), name.split("/")[0]
            within("training", quantity, largest(ours, golden[name]), goldens.tolerance("training", quantity))
            compared += 1
    of_masks = ("pix_feat_cond", "low_res", "mem_feat")
    assert compared == sum(name.startswith(of_masks) for name in golden)


def test_losses(goldens: GlusGoldens, case: dict[str, Any], record: dict[str, Any], step: TrainingStep) -> None:
    tolerance = goldens.tolerance("training", "losses")
    for ours, theirs in TERMS.items():
        value = float(step.terms[ours].detach()) * case["loss_weights"][ours]
        within("training", f"{theirs}, relative", abs(value / case["losses"][theirs] - 1), tolerance)
    within(
        "training", "loss, relative", abs(float(step.losses["loss"].detach()) / case["losses"]["loss"] - 1), tolerance
    )
    each = [entry["loss"] for entry in record["contrastive_log"] if entry["loss"] is not None]
    apart = abs(float(step.terms["contrastive"].detach()) - float(np.mean(each)))
    within("training", "contrastive_log loss, mean", apart, goldens.tolerance("training", "contrastive_log loss"))


def test_losses_of_every_mask(goldens: GlusGoldens, record: dict[str, Any], step: TrainingStep) -> None:
    first = np.cumsum([0, *(len(target) for target in step.batch.targets)])
    for entry in record["per_mask"]:
        target = step.batch.targets[entry["sample"]][entry["expression"], entry["frame"]][None]
        row = first[entry["sample"]] + entry["expression"]
        full = resize_logits(step.logits[row, entry["frame"]].detach()[None], *target.shape[-2:])
        assert int(target.sum()) == entry["gt_pixels"]
        for name, loss in (("bce", bce_per_mask), ("dice", dice_per_mask)):
            apart = abs(float(loss(full, target)) - entry[name])
            within("training", f"per_mask {name}", apart, goldens.tolerance("training", "per_mask"))


def test_gradients(
    goldens: GlusGoldens,
    case: dict[str, Any],
    golden: dict[str, np.ndarray],
    record: dict[str, Any],
    step: TrainingStep,
) -> None:
    """Tensors where the golden holds them, the norm of every other one, and which have no gradient at all."""
    squares, compared = 0.0, 0
    norms = {name: entry["norm"] for name, entry in record["per_param_gradient"].items()}
    trained = {published_name(name): value for name, value in step.model.named_parameters() if value.requires_grad}
    assert trained.keys() == norms.keys()
    for name, parameter in trained.items():
        assert (parameter.grad is None) == (norms[name] is None), name
        if parameter.grad is None:
            continue
        norm = float(parameter.grad.double().norm())
        squares += norm**2
        if norms[name] > ALMOST_ZERO:
            tolerance = goldens.tolerance("training", "per_param_gradient norm")
            within("training", "gradient of each tensor, norm", abs(norm / norms[name] - 1), tolerance)
        if (theirs := golden.get(f"grad/{name}")) is not None:
            compared += 1
            apart = float(np.linalg.norm(parameter.grad.numpy() - theirs) / np.linalg.norm(theirs))
            within("training", "gradients, relative", apart, goldens.tolerance("training", "grad/*"))
    assert compared == sum(name.startswith("grad/") for name in golden)
    apart = abs(math.sqrt(squares) / case["total_grad_norm"] - 1)
    within("training", "gradient norm, relative", apart, goldens.tolerance("training", "total_grad_norm"))


@pytest.mark.every_case
def test_gradients_of_every_term(
    goldens: GlusGoldens, case: dict[str, Any], record: dict[str, Any], step: TrainingStep
) -> None:
    tolerance = goldens.tolerance("training", "gradient_norms_by_group_and_term")
    trained = {published_name(name): value for name, value in step.model.named_parameters() if value.requires_grad}
    for term, theirs in TERMS.items():
        loss = case["loss_weights"][term] * step.terms[term]
        gradients = torch.autograd.grad(loss, list(trained.values()), retain_graph=True, allow_unused=True)
        squares: dict[str, float] = defaultdict(float)
        for name, gradient in zip(trained, gradients, strict=True):
            squares[group(name)] += 0.0 if gradient is None else float(gradient.double().pow(2).sum())
        for name, expected in record["gradient_norms_by_group_and_term"][theirs].items():
            norm = math.sqrt(squares[name])
            assert (norm == 0) == (expected == 0), (theirs, name)
            apart = abs(norm / expected - 1) if expected else 0.0
            within("training", "gradient of each term and group, norm", apart, tolerance)


@pytest.mark.every_case
def test_gradients_stop_at_memory_as_published(
    goldens: GlusGoldens,
    case: dict[str, Any],
    golden: dict[str, np.ndarray],
    record: dict[str, Any],
    step: TrainingStep,
) -> None:
    if "gradient_through_memory" not in record:
        pytest.skip("the training case does not tell which gradients pass through memory")
    table = next(value for name, value in record["gradient_through_memory"].items() if name.startswith("max_abs_d"))
    prompts = torch.from_numpy(golden["seg_embed"]).requires_grad_()
    memory = MemoryConfig(train_stride=case["memory_stride"], max_strided=6, detach=True)
    logits = segment_window(step.model.masks, step.features, prompts, step.batch.clip_of, memory)
    [gradient] = torch.autograd.grad(logits[:, -1].sum(), [prompts])
    ours, theirs = gradient.abs().amax(dim=-1).numpy(), np.array(table)
    assert np.array_equal(ours == 0, theirs == 0)
    apart = largest(ours / theirs.max(), theirs / theirs.max())
    within("training", "gradient through memory, relative", apart, goldens.tolerance("training", "grad/*"))


def group(name: str) -> str:
    """The golden's name of the group that a trained tensor belongs to."""
    if "sam_mask_decoder" in name:
        return "mask_decoder"
    parts = name.split(".")
    if "lora_A" in parts or "lora_B" in parts:
        return f"{parts[parts.index('self_attn') + 1]}.{'lora_A' if 'lora_A' in parts else 'lora_B'}"
    return next(part for part in ("embed_tokens", "lm_head", "mm_projector", "text_hidden_fcs") if part in parts)


def published_name(name: str) -> str:
    return next(theirs + name.removeprefix(ours) for ours, theirs in PUBLISHED_NAMES if name.startswith(ours))
