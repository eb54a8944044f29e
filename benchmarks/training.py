"""Training: today's build against the one at 548a4bb, and what activation checkpointing saves.

`mid`: the paper's step (two clips of 4 + 4 frames, three sentences each, its trained parts) on a model of random
weights with the 7B's proportions (LLaMA 512 wide with 8 layers, CLIP at 224 px). `tiny`: the three phases of the
default, weighted by its schedule, batches included. Both builds draw the same samples, one process after another,
one thread; CPU seconds, warm-up left out, medians. Losses and gradients are compared. Memory: the peak above what is
held before the first batch.
"""

import argparse
import json
import math
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from builds import ROOT, build_at, measure

BEFORE = "548a4bb"
TEXTS = [
    "the white dog that jumps over the fence", "the yellow bird on the left", "which of the two cars turns left",
    "the person who holds a red umbrella", "the last sheep", "the boat closest to us",
]  # fmt: skip
MID = [
    "model.language={vocabulary: 640, hidden_size: 512, intermediate_size: 1376, num_layers: 8, num_heads: 8}",
    "model.vision={image_size: 224, patch_size: 14, hidden_size: 256, intermediate_size: 512, num_layers: 4,"
    " num_heads: 4}",
    "train.contrastive.num_negatives=8",
    "train.trainable=[lora, embeddings, lm_head, mm_projector, text_hidden_fcs, mask_decoder]",
]
SIZE = 120, 160
STEPS = 8  # of each phase
PHASES = ("image", "tracking", "clip")
MEBIBYTE = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=["mid", "tiny", "all"], default="all")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each build")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        task = json.loads(options.worker)
        parts = {"mid": step_at_mid_size, "tiny": steps_of_the_default, "stage": stage}
        print(json.dumps(parts[task["part"]](task)))
        return
    with tempfile.TemporaryDirectory() as folder, build_at(BEFORE, Path(folder)) as before:
        work = Path(folder)
        if options.part != "tiny":
            compare_at_mid_size(work, before, options.repeats)
        if options.part != "mid":
            compare_defaults(work, before, options.repeats)


def compare_at_mid_size(work: Path, before: Path, repeats: int) -> None:
    draw_frames(work)
    ways = {
        f"build {BEFORE}": (before, False),
        "this build": (ROOT, False),
        "this build, checkpointing": (ROOT, True),
    }
    rows: dict[str, list[dict]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (tree, checkpointing) in ways.items():
            task = {"part": "mid", "folder": str(work), "checkpointing": checkpointing, "gradients": f"{name}.npz"}
            rows[name].append(measure(__file__, tree, task))
    print(
        f"{'mid size':28}{'s/batch':>9}{'samples/s':>11}{'times':>7}{'peak MiB':>10}{'share':>7}{'loss':>10}"
        f"{'gradients':>11}"
    )
    first = rows[f"build {BEFORE}"]
    seconds = {name: statistics.median(row["seconds"] for row in found) for name, found in rows.items()}
    peaks = {name: statistics.median(row["peak"] for row in found) for name, found in rows.items()}
    for name, found in rows.items():
        loss = max(abs(one / other - 1) for one, other in zip(found[0]["losses"], first[0]["losses"], strict=True))
        apart = gradients_apart(work / f"{name}.npz", work / f"build {BEFORE}.npz")
        print(
            f"{name:28}{seconds[name]:9.3f}{2 / seconds[name]:11.3f}{seconds[f'build {BEFORE}'] / seconds[name]:7.2f}"
            f"{peaks[name]:10.0f}{peaks[name] / peaks['this build']:7.2f}{loss:10.1e}{apart:11.1e}",
            flush=True,
        )
        assert max(loss, apart) < 1e-5, "another result"


def compare_defaults(work: Path, before: Path, repeats: int) -> None:
    project = work / "project"
    project.mkdir()
    clips = (
        "stage.synthetic.clips={train: {plain: 14, greyed: 14, starts_grey: 8}, valid_u: {plain: 1}, test: {plain: 1}}"
    )
    os.chdir(ROOT)
    (project / "params.yaml").write_text(edited([clips, "tracking.enabled=false", "compute.processes=1"]))
    measure(__file__, ROOT, {"part": "stage", "folder": str(project)})
    rows: dict[str, list[dict]] = {"before": [], "now": []}
    for _ in range(repeats):
        for name, tree in (("before", before), ("now", ROOT)):
            rows[name].append(measure(__file__, tree, {"part": "tiny", "folder": str(project)}))
    print(f"{'tiny default':14}{BEFORE + ' s/step':>16}{'this build':>12}{'times':>7}{'loss apart':>12}")
    total = {"before": 0.0, "now": 0.0}
    for phase in PHASES:
        seconds = {name: statistics.median(row[phase]["seconds"] for row in found) for name, found in rows.items()}
        for name in total:
            total[name] += seconds[name] * rows["now"][0][phase]["steps"]
        apart = abs(rows["now"][0][phase]["loss"] / rows["before"][0][phase]["loss"] - 1)
        print(
            f"{phase:14}{seconds['before']:16.3f}{seconds['now']:12.3f}"
            f"{seconds['before'] / seconds['now']:7.2f}{apart:12.1e}"
        )
    print(f"{'schedule, s':14}{total['before']:16.0f}{total['now']:12.0f}{total['before'] / total['now']:7.2f}")


def edited(changes: list[str]) -> str:
    """The default parameters of the build on the path, which this is the folder of, with changes."""
    from glus.commands.params import edited as edit

    return edit(Path("params.yaml"), changes)


def draw_frames(work: Path) -> None:
    from PIL import Image

    generator = np.random.default_rng(0)
    for number in range(16):
        Image.fromarray(generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(work / f"{number}.png")


def gradients_apart(ours: Path, theirs: Path) -> float:
    """Norm of the difference of all gradients, relative to their norm; which ones there are has to agree."""
    one, other = np.load(ours), np.load(theirs)
    assert set(one) == set(other)
    differences, norms = (
        [float(np.square(part).sum()) for part in parts]
        for parts in ((one[name] - other[name] for name in other), other.values())
    )
    return math.sqrt(sum(differences) / sum(norms))


def build(config, texts):
    """A model of random weights with adapters that do something, by the build on the path."""
    import torch

    from glus.model.lora import add_lora
    from glus.model.scratch import build_from_scratch
    from glus.processing.conversation import conversation_texts
    from glus.processing.sentences import IM_END, IM_START, SEG
    from glus.processing.tokenizer import train_tokenizer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = train_tokenizer([*conversation_texts(), *texts], config.model.language.vocabulary)
    tokenizer.add_tokens([SEG, IM_START, IM_END])
    model = build_from_scratch(config.model, tokenizer, seed=0)
    add_lora(model.language_model, config.model.lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def train_only(model, parameters) -> None:
    from glus.training.loop.trainer import train_mode

    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in parameters)
    train_mode(model)


def draw_samples(folder: Path) -> list:
    """Two clips with three sentences each, two of which speak of one object."""
    from glus.training.segmentation.samples import ClipSample

    split = SimpleNamespace(
        dataset="drawn",
        frame_path=lambda video, index: folder / f"{video.first + index}.png",
        target_masks=lambda expression, frames: np.random.default_rng(len(expression.text)).random((4, *SIZE)) > 0.7,
    )
    samples = []
    for clip in range(2):
        video = SimpleNamespace(first=8 * clip, video_id=str(clip), frame_names=range(8))
        said = [
            SimpleNamespace(text=text, expression_id=text, annotation_ids=(str(number // 2),))
            for number, text in enumerate(TEXTS[3 * clip :][:3])
        ]
        draw = SimpleNamespace(split=split, video=video)
        samples.append(ClipSample(draw, [0, 1, 2, 3], [4, 5, 6, 7], said, [[0] * 4] * 3, [[3] * 4] * 3))
    return samples


def step_at_mid_size(task: dict) -> dict:
    """A few batches by the build on the path: CPU seconds of each, losses, gradients, peak memory."""
    import torch

    from glus.config import load_config
    from glus.training.loop.trainable import select_parameters
    from glus.training.segmentation.contrastive import TokenBank
    from glus.training.segmentation.objectives import ClipObjective
    from glus.training.segmentation.samples import BatchBuilder

    folder = Path(task["folder"])
    file = folder / f"{Path.cwd().name}.yaml"
    file.write_text(edited(MID))
    config = load_config(file)
    model = build(config, TEXTS)
    if task["checkpointing"]:
        from glus.model.checkpointing import checkpoint_activations

        checkpoint_activations(model.deep_layers)
    parameters = select_parameters(model, config.train.trainable)
    train_only(model, parameters)
    batch = BatchBuilder(model.tokenizer, model.transform, model.mllm.tokens_per_frame).build(draw_samples(folder))
    objective = ClipObjective(model, config.train.loss, config.train.contrastive, config.model.memory, TokenBank(64))
    held, seconds = current_memory(), []
    for _ in range(4):
        model.zero_grad(set_to_none=True)
        torch.manual_seed(1)
        start = time.process_time()
        losses = objective(batch)
        losses["loss"].backward()
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - held
    gradients = {name: value.grad.numpy() for name, value in parameters.items() if value.grad is not None}
    np.savez(folder / task["gradients"], **gradients)
    return {
        "seconds": statistics.median(seconds[1:]),
        "peak": peak / MEBIBYTE,
        "losses": [float(losses[name]) for name in ("loss", "ce", "bce", "dice", "con")],
    }


def current_memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def stage(task: dict) -> dict:
    from glus.cli import main as glus

    os.chdir(task["folder"])
    try:
        glus(["stage"])
    except SystemExit as end:
        assert not end.code
    return {}


def steps_of_the_default(task: dict) -> dict:
    """Some steps of each phase by the build on the path: CPU seconds of a step, batches included, and the last loss."""
    import torch

    from glus.config import load_config
    from glus.records.split import StagedSplit
    from glus.training.segmentation.contrastive import TokenBank
    from glus.training.segmentation.phases import build_phases

    config, folder = load_config(), Path(task["folder"])
    split = StagedSplit(folder / "data/staged/synthetic/train", folder / "data/raw/synthetic")
    texts = {expression.text for expressions in split.expressions.values() for expression in expressions}
    model = build(config, texts)
    bank, found = TokenBank(config.train.contrastive.bank_size), {}
    for phase in build_phases(model, [(split, 1.0)], bank, train=config.train, shape=config.model, seed=0):
        train_only(model, phase.parameters)
        optimiser = torch.optim.AdamW(phase.parameters.values(), lr=1e-5, fused=True)
        seconds = []
        for step in range(STEPS):
            start = time.process_time()
            optimiser.zero_grad(set_to_none=True)
            for turn in range(phase.accumulation):
                loss = phase.loss(phase.batch(step * phase.accumulation + turn))["loss"]
                (loss / phase.accumulation).backward()
            torch.nn.utils.clip_grad_norm_(phase.parameters.values(), 1.0)
            optimiser.step()
            phase.end_step()
            seconds.append(time.process_time() - start)
        row = {"seconds": statistics.median(seconds[1:]), "steps": phase.steps, "loss": float(loss.detach())}
        found[phase.name] = row
    return found


if __name__ == "__main__":
    main()
