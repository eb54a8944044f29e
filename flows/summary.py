"""What the page of a flow run shows when the pipeline is done: results table, overlay picture, link to MLflow."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from glus.paths import EVALUATION_METRICS, REPORTS, RUNS

MLFLOW_UI = f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT') or 5000}"


def publish_summary(folder: Path) -> None:
    """Adds the artifacts of a finished pipeline to the flow run."""
    metrics = json.loads((folder / EVALUATION_METRICS).read_text(encoding="utf-8"))
    create_table_artifact(
        table=list(result_rows(metrics)), key="results", description="J, F and J&F in percent; baselines below"
    )
    picture = first_picture(folder / REPORTS)
    if picture is not None:
        encoded = base64.b64encode(picture.read_bytes()).decode()
        kind = "jpeg" if picture.suffix == ".jpg" else "png"
        create_markdown_artifact(
            key="overlay",
            markdown=f"{caption_of(picture)}\n\n![frames with their masks](data:image/{kind};base64,{encoded})\n",
        )
    link = mlflow_link(folder / RUNS / "evaluate.json")
    if link is not None:
        create_link_artifact(link=link, link_text="the MLflow run", key="mlflow-run")


def result_rows(metrics: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row per split, family and baseline of `metrics/evaluate.json`."""
    for dataset, splits in metrics.items():
        for split, values in splits.items():
            name = f"{dataset}/{split}"
            yield _row(name, "all expressions", values)
            for family, of_family in values.get("families", {}).items():
                yield _row(name, family, of_family)
            for baseline, of_baseline in values.get("baselines", {}).items():
                yield _row(name, f"baseline: {baseline}", of_baseline)
            for comparison, j in values.get("comparisons", {}).items():
                yield _row(name, f"grey frames: {comparison.replace('_', ' ')}", {"J": j})


def _row(split: str, what: str, values: dict[str, Any]) -> dict[str, Any]:
    shown = {"J": "J", "F": "F", "JF": "J&F"}  # by their names in the file
    scores = {title: round(values[name], 1) if name in values else "" for name, title in shown.items()}
    return {"split": split, "what": what, **scores, "expressions": values.get("num_expressions", "")}


def first_picture(reports: Path) -> Path | None:
    """The first overlay strip of the report; `asked.jpg` shows a clip without masks."""
    pictures = sorted(path for path in reports.rglob("*") if path.suffix in (".png", ".jpg") and path.stem != "asked")
    return pictures[0] if pictures else None


def caption_of(picture: Path) -> str:
    """What the report says of a strip: why it is shown, the sentence, its scores."""
    file = picture.parent.with_name("cards.json")
    cards = json.loads(file.read_text(encoding="utf-8"))["examples"] if file.is_file() else []
    said = (
        f"{card['title']}: “{card['sentence']}” · {card['facts']}" for card in cards if card["picture"] == picture.name
    )
    return next(said, picture.stem)


def mlflow_link(record: Path) -> str | None:
    """The page of the MLflow run that a step's record names."""
    if not record.is_file():
        return None
    run = json.loads(record.read_text(encoding="utf-8"))["mlflow"]
    if run is None:
        return None
    base = run["uri"] if run["uri"].startswith("http") else MLFLOW_UI
    return f"{base}/#/experiments/{run['experiment_id']}/runs/{run['run_id']}?workflowType=machine_learning"
