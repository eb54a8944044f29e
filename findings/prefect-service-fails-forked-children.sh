#!/usr/bin/env bash
# Prefect 3.8.8 (not 3.9.1): once a process has a service of Prefect's (it has sent a log line or an event of a flow run),
# every process that multiprocessing forks from it ends with exit code 1 without a word, though its work has succeeded. The
# child resets the service, and as it ends runs the hook that the service has registered with `threading`, which asserts
# that it was not reset. Whoever looks at exit codes (torch's DataLoader) takes the child for failed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check prefect==3.8.8 "fastapi<0.151"
export PREFECT_HOME="$work/home" DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_SERVER_EPHEMERAL_ENABLED=true
cd "$work"
cat > trial.py <<'PY'
import multiprocessing

from prefect import flow, get_run_logger


def work():
    print("a child's work has succeeded", flush=True)


def exit_code():
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    return child.exitcode


@flow
def logs_one_line():
    get_run_logger().info("one line")


before = exit_code()
logs_one_line()
after = exit_code()
print(f"exit code of a forked child before the flow: {before}, after it: {after}")
raise SystemExit((before, after) != (0, 1))
PY
env/bin/python trial.py > log 2>&1 || { cat log; echo changed; exit 1; }
grep "exit code" log
