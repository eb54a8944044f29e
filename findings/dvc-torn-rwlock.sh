#!/usr/bin/env bash
# DVC 3.67.1: `.dvc/tmp/rwlock` is written in place, emptied first. A `dvc repro` that is killed (out of memory, power) in
# that moment leaves an empty file, though no process holds a lock any more. Every later `dvc repro` ends with "Unable to
# read RWLock-file ... JSON structure is corrupted", until somebody removes the file by hand. (Entries of dead processes
# in a whole file are recognised and dropped.)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check dvc==3.67.1
export PATH="$work/env/bin:$PATH" DO_NOT_TRACK=1
cd "$work"
dvc init -q --no-scm
dvc config core.analytics false
printf 'stages:\n  one:\n    cmd: date > one.txt\n    always_changed: true\n    outs: [one.txt]\n' > dvc.yaml
dvc repro -q
python - <<'PY'
import os, subprocess, sys

LOCK = ".dvc/tmp/rwlock"
for number in range(200):  # kills: some come too late
    dvc = subprocess.Popen(["dvc", "repro", "-q"])
    while dvc.poll() is None:
        if os.stat(LOCK).st_size == 0:
            dvc.kill()
    dvc.wait()
    if os.stat(LOCK).st_size == 0:
        break
else:
    sys.exit("changed: 200 kills left the file whole")
again = subprocess.run(["dvc", "repro"], capture_output=True, text=True)
print(f"after kill {number + 1} {LOCK} is empty; the next dvc repro ends with {again.returncode}: {again.stderr.splitlines()[0]}")
if again.returncode == 0 or "JSON structure is corrupted" not in again.stderr:
    sys.exit("changed")
os.remove(LOCK)
subprocess.run(["dvc", "repro", "-q"], check=True)
PY
