"""What DVC calls the versions that lie here: its hashes in `dvc.lock`, for a run's record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

LOCK = Path("dvc.lock")


def recorded_stages(lock: Path = LOCK) -> dict[str, dict[str, Any]]:
    """The stages that DVC has recorded; none without a lock file, or while it is being written."""
    try:
        recorded: dict[str, dict[str, Any]] = YAML(typ="safe", pure=True).load(lock.read_text(encoding="utf-8"))[
            "stages"
        ]
        return dict(recorded)
    except (FileNotFoundError, KeyError, TypeError, YAMLError):
        return {}


def output_digests(stages: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, str]:
    """MD5 of each output of recorded stages, by path; of those of this folder's lock file where none are given."""
    recorded = recorded_stages() if stages is None else stages
    return {out["path"]: out["md5"] for stage in recorded.values() for out in stage.get("outs", []) if "md5" in out}


def digest_around(path: str, digests: dict[str, str]) -> tuple[str, str] | None:
    """The output that a path lies in, and its MD5; None for what DVC has not recorded."""
    for output, digest in digests.items():
        if Path(path).is_relative_to(output):
            return output, digest
    return None
