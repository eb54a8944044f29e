#!/usr/bin/env bash
# safetensors 0.8.0: a file that `save_file` writes can be read by its owner alone (mode 0600), whatever the umask says,
# and also in place of a file that others could read. Weights in a shared folder are then not shared: others, or a server
# of another user, get "Permission denied". `torch.save` and plain files follow the umask.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$work"
umask 022
"$work/env/bin/python" - <<'PYTHON'
import sys
from pathlib import Path

import numpy
from safetensors.numpy import save_file

new, old, plain = Path("new.safetensors"), Path("old.safetensors"), Path("plain")
old.touch()
for file in (new, old):
    save_file({"a": numpy.zeros(3)}, file)
plain.write_text("")
modes = [oct(file.stat().st_mode & 0o777) for file in (plain, new, old)]
print("plain file {}, new weights {}, weights over a file that all could read {}".format(*modes))
sys.exit("changed" if modes != ["0o644", "0o600", "0o600"] else 0)
PYTHON
