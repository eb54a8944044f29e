#!/usr/bin/env bash
# DVC 3.67.1: `dvc push --run-cache` does not send metrics (or plots) with `cache: false`, though it sends the entry of
# the run cache that names them and has them in its own cache. Another clone with the same remote then finds the entry,
# misses the file, and `dvc repro --pull` computes the stage again, with a warning only.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check dvc==3.67.1
export PATH="$work/env/bin:$PATH" DO_NOT_TRACK=1
cd "$work"
for clone in first second; do
  mkdir "$clone" && cd "$clone"
  dvc init -q --no-scm
  dvc config core.analytics false
  dvc remote add -q -d shared "$work/remote"
  cat > dvc.yaml <<'YAML'
stages:
  plain:
    cmd: echo x >> ../plain.ran; echo result > plain.txt
    deps: [input]
    outs: [plain.txt]
  scored:
    cmd: 'echo x >> ../scored.ran; echo result > scored.txt; echo "{\"score\": 1}" > score.json'
    deps: [input]
    outs: [scored.txt]
    metrics:
    - score.json: {cache: false}
YAML
  echo data > input
  cd ..
done
(cd first && dvc repro -q && dvc push -q --run-cache)
(cd second && dvc repro --pull) > log 2>&1 || { cat log; exit 1; }
grep -i "missing cache files" -A 1 log || true
ran() { wc -l < "$1.ran" | tr -d ' '; }
echo "in two clones the stage without a metric ran $(ran plain) time(s), the one with it $(ran scored)"
[ "$(ran plain)" = 1 ] && [ "$(ran scored)" = 2 ] || { echo changed; exit 1; }
