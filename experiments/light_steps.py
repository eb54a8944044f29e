"""`python -m glus` of a light project (see `experiments.light_project`): the steps by their real names and options."""

import hashlib
import json
import os
import struct
import sys
import time
import zlib
from pathlib import Path

NAMES = ["stage", "train", "pseudolabel", "selector", "keyframes", "propagate", "evaluate"]
PARAMETERS = dict(line.split(": ", 1) for line in Path("params.yaml").read_text().splitlines())
RECORDS = Path("runs")


def before(name: str) -> Path:
    number = NAMES.index(name)
    return Path(f"results/{NAMES[number - 1]}.txt") if number else Path("sources/stage.json")


def digest(name: str) -> str:
    """What a step computes: named by its input and parameters."""
    return hashlib.sha256(f"{name} {PARAMETERS['seed']} {before(name).read_text()}".encode()).hexdigest()[:16]


def write(path: str, content: str | bytes) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())


def note(name: str) -> None:
    """One line in the ledger, written at once, so that those of several processes do not mix."""
    ledger = os.open(PARAMETERS["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, f"{name} {PARAMETERS['seed']}\n".encode())
    os.close(ledger)


def picture() -> bytes:
    """A grey PNG of 8 x 8 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\x80" * 8) * 8)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def run(name: str) -> None:
    seconds, pieces = float(PARAMETERS["seconds"]), 5
    for piece in range(pieces):
        time.sleep(seconds / pieces)
        print(f"{name}: pieces {piece + 1}/{pieces}, 0:00:{piece:02d} elapsed", flush=True)
    note(name)
    if name == "evaluate":
        scores = {"J": 50.0, "F": 60.0, "JF": 55.0, "num_expressions": 3}
        write("metrics/evaluate.json", json.dumps({"synthetic": {"test": scores}}))
        write("reports/strip.png", picture())
        run_of = {"uri": "http://127.0.0.1:5000", "experiment_id": "1", "run_id": "abc"}
        write("runs/evaluate.json", json.dumps({"mlflow": run_of}))
    write(f"results/{name}.txt", digest(name))
    write(f"runs/{name}.done", digest(name))


def main(name: str, *options: str) -> None:
    if name == "sources":
        Path("sources").mkdir(exist_ok=True)
        Path("sources/stage.json").write_text("{}")
    elif "--dry-run" in options:
        result, done = Path(f"results/{name}.txt"), RECORDS / f"{name}.done"
        same = result.is_file() and done.is_file() and result.read_text() == done.read_text() == digest(name)
        print(json.dumps({"identity": digest(name), "finished": same}))
    else:
        run(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
