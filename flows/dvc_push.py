"""A script: sends all that other agents need to restore the steps of the project in this folder to its DVC remote.

`dvc push --run-cache` leaves out metrics and plots that git keeps (`cache: false`); without them `dvc repro --pull`
runs a step again (findings/dvc-run-cache-without-metrics.sh). The entries of the run cache go last: whoever finds one
finds everything.
"""

import sys

from dvc.cli import main
from dvc.repo import Repo

if code := main(["--wait-for-lock", "push"]):
    sys.exit(code)
with Repo() as repo:
    kept_by_git = [out.hash_info for out in repo.index.outs if not out.use_cache and out.hash_info]
    held = {found for found in kept_by_git if repo.cache.local.exists(found.value)}
    if held and repo.cloud.push(held).failed:
        sys.exit(1)
sys.exit(main(["--wait-for-lock", "push", "--run-cache"]))
