"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.model_fixtures"]

settings.register_profile("busy_machine", deadline=None)
settings.load_profile("busy_machine")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data; `GLUS_SHARED` names another one of the same layout."""
    path = Path(os.environ.get("GLUS_SHARED", ROOT.parent / "shared")).resolve()
    if not path.is_dir():
        pytest.skip(f"reference data is not there: {path} (set GLUS_SHARED)")
    return path


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT
