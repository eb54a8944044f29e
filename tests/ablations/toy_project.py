"""A project with the real parameters, whose seven steps cost nothing: each notes that it was computed, and may wait.

What a step makes is decided by its inputs and by those parameters that decide the real step.
"""

import shutil
import sys
from pathlib import Path

from ruamel.yaml import YAML

from glus.commands.params import edited
from glus.config import PRESETS
from glus.pipeline.table import STEPS

METRICS = {"train", "selector", "evaluate"}
PROGRAM = """\
import hashlib, json, os, sys, time
from pathlib import Path
from ruamel.yaml import YAML

ledger, step, keys, *inputs = sys.argv[1:]
parent = os.getppid()
while step == "train" and Path(ledger, "wait").exists():
    Path(ledger, f"waiting {Path.cwd().parent.name}").touch()
    time.sleep(0.1)
    if os.getppid() != parent:  # as a real step, it ends with dvc
        sys.exit(1)
decides = [Path(name).read_text() for name in inputs]
for key in keys.split(","):
    value = YAML(typ="safe").load(Path("params.yaml"))
    for part in key.split("."):
        value = value[part]
    decides.append(json.dumps(value, sort_keys=True))
result = hashlib.sha256("".join(decides).encode()).hexdigest()
for folder in ("toy", "metrics"):
    Path(folder).mkdir(exist_ok=True)
Path("toy", f"{step}.txt").write_text(result)
Path("metrics", f"{step}.json").write_text(json.dumps({"synthetic": {"test": {"JF": int(result, 16) % 1000 / 10}}}))
with Path(ledger, "computed").open("a") as file:
    file.write(f"{step}\\n")
"""


def write_toy_project(folder: Path, *overrides: str) -> Path:
    """Writes it; the ledger lies beside it."""
    ledger = folder.with_name(f"{folder.name}-ledger")
    ledger.mkdir(parents=True)
    package = folder / "glus"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"__path__.append({str(PRESETS.parent)!r})  # all but the steps\n")
    (package / "toy.py").write_text(PROGRAM)
    (folder / "params.yaml").write_text(edited(PRESETS / "smoke.yaml", list(overrides)))
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    shutil.copy2(PRESETS.parent.parent / ".dvcignore", folder)
    with (folder / "dvc.yaml").open("w") as file:
        YAML(typ="safe").dump({"stages": dict(_stages(ledger))}, file)
    return folder


def _stages(ledger: Path):
    before: list[str] = []
    for step in STEPS:
        out, metrics = f"toy/{step.name}.txt", f"metrics/{step.name}.json"
        arguments = " ".join([str(ledger), step.name, ",".join(step.parameters), *before])
        yield (
            step.name,
            {
                "cmd": f"exec {sys.executable} glus/toy.py {arguments}",
                "params": list(step.parameters),
                "deps": ["glus/toy.py", *before],
                "outs": [out],
                "metrics": [{metrics: {"cache": False}}],
            },
        )
        before = [out]


def computed(project: Path) -> list[str]:
    """The steps that were computed, in order."""
    ledger = project.with_name(f"{project.name}-ledger") / "computed"
    return ledger.read_text().split() if ledger.exists() else []
