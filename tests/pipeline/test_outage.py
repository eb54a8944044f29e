"""A real MLflow server that is killed during a step and comes back: nothing is lost, and no call waits for it."""

from pathlib import Path

import pytest
from local_imports import ROOT

from experiments import mlflow_outage
from glus.pipeline import tracking

pytestmark = pytest.mark.every_case  # the server takes half a minute to start


def test_an_outage_loses_nothing_and_no_call_waits_for_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "set, so that it is put back")
    monkeypatch.setattr(tracking, "SECONDS_TO_FINISH", 120.0)
    rows = mlflow_outage.measure(seconds=10.0)
    assert [row.step for row in rows] == list(mlflow_outage.STEPS)
    for row in rows:
        assert (row.arrived, row.status) == (row.told, "FINISHED")
        assert row.told > 20  # and so none of the calls has waited
