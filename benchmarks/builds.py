"""An earlier build beside this one: taken from this repository's history, run in processes of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def build_at(commit: str, work: Path) -> Iterator[Path]:
    """A working tree of a commit, in a folder that is gone afterwards."""
    tree = work / commit
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", "--quiet", str(tree), commit], check=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def measure(script: str, tree: Path, task: dict) -> dict:
    """What `script --worker TASK` reports, run by the build of a working tree with one thread."""
    done = subprocess.run(
        [sys.executable, script, "--worker", json.dumps(task)],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tree, ROOT))), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])
