"""Fixtures for all tests, and what is the same for all of them, whoever runs them."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # whatever machine this is; before torch, which the next line imports
pytest_plugins = ["tests.model_fixtures"]

# the same examples in every run, however long a busy machine takes to draw them
settings.register_profile("busy_machine", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy_machine")

ROOT = Path(__file__).resolve().parent.parent
# what a shell, a scheduler, a flow or a dvc may have told those that it started
OF_OTHERS = (
    "COLUMNS", "DVC_EXP_NAME", "DVC_ROOT", "FORCE_COLOR", "GLUS_DEBUG", "GLUS_DEVICE_SLOTS",
    "GLUS_EXECUTION", "GLUS_PARENT", "GLUS_TOLD_ELSEWHERE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT",
    "MLFLOW_PORT", "MLFLOW_TRACKING_URI", "NO_COLOR", "PREFECT_API_URL", "PREFECT__FLOW_RUN_ID", "PYTHONWARNINGS",
    "RANK", "RAY_ADDRESS", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "TORCHELASTIC_ERROR_FILE",
    "WORLD_SIZE",
)  # fmt: skip
OURS = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "true",
    "GIT_CONFIG_COUNT": "2",  # no key and no hooks of whoever runs the tests
    "GIT_CONFIG_KEY_0": "commit.gpgSign",
    "GIT_CONFIG_VALUE_0": "false",
    "GIT_CONFIG_KEY_1": "core.hooksPath",
    "GIT_CONFIG_VALUE_1": os.devnull,
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    "PREFECT_API_REQUEST_TIMEOUT": "600",  # Prefect's server gives up (503) what a busy machine does not do in 10 s
    "PREFECT_CLIENT_MAX_RETRIES": "8",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "600",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "600",
    "TERM": "xterm",
}
FOLDERS = ("DVC_GLOBAL_CONFIG_DIR", "DVC_SITE_CACHE_DIR", "DVC_SYSTEM_CONFIG_DIR", "GLUS_DEVICE_LOCKS", "PREFECT_HOME")


def pytest_configure(config: pytest.Config) -> None:
    """Programs that tests start find no settings of a user's own, and leave nothing behind in a home."""
    home = tempfile.TemporaryDirectory(prefix="glus-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    for name in OF_OTHERS:
        os.environ.pop(name, None)
    os.environ.update(OURS | {name: str(Path(home.name, name)) for name in FOLDERS})


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
