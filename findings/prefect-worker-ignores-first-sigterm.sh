#!/usr/bin/env bash
# Prefect 3.8.8: a worker that a script has started in its background (`&`) does not end at the first SIGTERM. It passes
# the signal on to itself as SIGINT, which such a process ignores from its birth (POSIX), says so, and takes further runs.
# The second SIGTERM ends it.
set -euo pipefail
work=$(mktemp -d)
trap 'kill -KILL $(jobs -p) 2>/dev/null || true; wait || true; rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check prefect==3.8.8 "fastapi<0.151"
export PREFECT_HOME="$work/home" PREFECT_API_URL=http://127.0.0.1:4698/api DO_NOT_TRACK=1
export PREFECT_SERVER_ANALYTICS_ENABLED=false
cd "$work"
env/bin/prefect server start --host 127.0.0.1 --port 4698 > server.log 2>&1 &
until env/bin/python -c "import urllib.request; urllib.request.urlopen('$PREFECT_API_URL/health')" 2> /dev/null; do sleep 1; done
env/bin/prefect worker start --pool trial --type process > worker.log 2>&1 &
worker=$!
until grep -q "started!" worker.log; do sleep 1; done
ends() {
  kill -TERM "$worker"
  for _ in $(seq 20); do kill -0 "$worker" 2> /dev/null || { echo yes; return; }; sleep 1; done
  echo no
}
first=$(ends)
second=$(ends)
grep "Received" worker.log
echo "ended within 20 s of the first SIGTERM: $first, of the second: $second"
[ "$first $second" = "no yes" ] || { echo changed; exit 1; }
