"""Peak memory of loading a checkpoint, against the bytes of its weights: asked for is weights plus one shard.

A GLUS of some hundred millions of parameters in four shards of `.bin` or safetensors, in bfloat16, loaded as it is and
in float32; and what was trained beside it as its base. Each line is a process of its own; what it holds before it
loads is taken off. The second ratio is of private memory: pages of a mapped file can be dropped, and processes share
them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH, MLP, SHARDS = 1024, 2816, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(load(**json.loads(options.worker))))
        return
    print(f"{'checkpoint':<28}{'held as':<10}{'weights MiB':>12}{'peak / weights':>16}{'private':>9}  allowed")
    with tempfile.TemporaryDirectory() as folder:
        for form in ("bin", "safetensors", "beside its base"):
            write(Path(folder), form, options.layers)
            for dtype in ("bfloat16", "float32"):
                task = {"folder": folder, "form": form, "dtype": dtype}
                command = [sys.executable, __file__, "--worker", json.dumps(task)]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
                found = json.loads(done.stdout.splitlines()[-1])
                weights = found["weights"]
                print(
                    f"{form:<28}{dtype:<10}{weights / 2**20:>12.0f}{found['peak'] / weights:>16.2f}"
                    f"{found['private'] / weights:>9.2f}  {(weights + found['shard']) / weights:.2f}",
                    flush=True,
                )


def write(folder: Path, form: str, num_layers: int) -> None:
    """Writes the model into `folder`/form as a published GLUS, its CLIP tower beside it."""
    import torch
    from safetensors.torch import save_file

    from glus.config import LoraConfig, load_config, parse_config
    from glus.model.lora import add_lora
    from glus.model.scratch import build_from_scratch
    from glus.processing.conversation import conversation_texts
    from glus.processing.sentences import IM_END, IM_START, SEG
    from glus.processing.tokenizer import train_tokenizer
    from glus.training.loop.trainable import select_parameters
    from glus.weights.loading import load_model
    from glus.weights.saved import save_trained_glus
    from tests.weights.published import published_tensors, write_clip

    if form == "beside its base":
        where = {"vision_tower": str(folder / "clip"), "sam2_config": str(ROOT / "glus/model/sam2_tiny.yaml")}
        model = load_model(folder / "bin", dtype=None, **where)
        add_lora(model.language_model, LoraConfig(rank=8, alpha=16, dropout=0.0, targets=["q_proj", "v_proj"]))
        base = {"base": str(folder / "bin"), "vision_tower": str(folder / "clip")}
        save_trained_glus(model, select_parameters(model, ["lora", "mask_decoder"]), base, folder / form)
        return
    values = load_config(ROOT / "params.yaml").model_dump()
    language = {"hidden_size": WIDTH, "intermediate_size": MLP, "num_layers": num_layers, "num_heads": 8}
    values["model"]["language"] |= language
    config = parse_config(values, Path("params.yaml"))
    tokenizer = train_tokenizer(conversation_texts(), 400)
    tokenizer.add_tokens([SEG, IM_START, IM_END])
    model = build_from_scratch(config.model, tokenizer, seed=0)
    if not (folder / "clip").exists():
        write_clip(folder / "clip", model)
    tensors = published_tensors(model)
    target = folder / form
    tokenizer.save_pretrained(target)
    described = {**model.language_model.config.to_dict(), "model_type": "llava"}
    (target / "config.json").write_text(json.dumps(described))
    weight_map = {}
    for number, chosen in enumerate(shards(tensors)):
        weight_map.update(dict.fromkeys(chosen, f"{number}.{form}"))
        save = torch.save if form == "bin" else save_file
        save({name: tensors[name].contiguous() for name in chosen}, target / f"{number}.{form}")
    whole = "pytorch_model.bin" if form == "bin" else "model.safetensors"
    (target / f"{whole}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def shards(tensors: dict) -> list[list[str]]:
    """Names, in shards of about the same number of bytes."""
    limit = sum(tensor.nbytes for tensor in tensors.values()) / SHARDS
    found, size = [[]], 0
    for name, tensor in tensors.items():
        if size > limit:
            found.append([])
            size = 0
        found[-1].append(name)
        size += tensor.nbytes
    return found


def load(folder: str, form: str, dtype: str) -> dict[str, int]:
    """Loads and touches a model; bytes of its weights, its largest shard, the peak, the private part of the peak."""
    from glus.weights.loading import load_model

    given = (
        {}
        if form == "beside its base"
        else {"vision_tower": f"{folder}/clip", "sam2_config": str(ROOT / "glus/model/sam2_tiny.yaml")}
    )
    before, peak, ended = memory(), [0, 0], threading.Event()

    def watch() -> None:
        while not ended.is_set():
            peak[:] = [max(most, now) for most, now in zip(peak, memory(), strict=True)]
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    model = load_model(Path(folder, form), dtype=dtype, **given)
    for parameter in model.parameters():
        parameter.sum()
    ended.set()
    watcher.join()
    shards = [file.stat().st_size for file in Path(folder, "bin" if given == {} else form).glob("[0-9].*")]
    return {
        "weights": sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()),
        "shard": max(shards),
        "peak": peak[0] - before[0],
        "private": peak[1] - before[1],
    }


def memory() -> tuple[int, int]:
    """Resident memory of this process, and the part of it that no file backs, bytes."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon"))


if __name__ == "__main__":
    main()
