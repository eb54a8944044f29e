"""What logging costs a step: through the uploader against MLflow's own client, on the same kind of store."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient

from glus.pipeline.tracking import RunDescription, start_tracking

CALLS = 30
VALUES = {f"train/loss_{index}": 1.0 for index in range(7)}


def seconds_per_call(log: Callable[[int], None]) -> float:
    start = time.perf_counter()
    for step in range(CALLS):
        log(step)
    return (time.perf_counter() - start) / CALLS


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        client = MlflowClient("sqlite:///direct.db")
        location = Path("mlartifacts").resolve().as_uri()
        run = client.create_run(client.create_experiment("bench", artifact_location=location)).info.run_id

        def direct(step: int) -> None:
            for name, value in VALUES.items():
                client.log_metric(run, name, value, step=step)

        direct(-1)
        tracker = start_tracking(RunDescription("bench", "bench", "bench", None, {}, {}))
        baseline = seconds_per_call(direct)
        ours = seconds_per_call(lambda step: tracker.log_metrics(VALUES, step))
        tracker.finish("done")
    print(f"logging {len(VALUES)} values: MLflow client {baseline * 1e3:.1f} ms, uploader {ours * 1e3:.3f} ms")
    print(f"ratio {baseline / ours:.0f}")


if __name__ == "__main__":
    main()
