"""How busy the machine is while a step is at work: processors, memory, disk, network, GPUs, as MLflow measures them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor

SECONDS_BETWEEN_SAMPLES = 10.0


def sample_load(put: Callable[[dict[str, Any]], None], imported: threading.Event) -> None:
    """Puts a message with the present values now and then, for ever.

    Args:
        imported: set once another thread has imported MLflow, which two at once cannot.
    """
    imported.wait()
    monitors = list(_monitors())
    while True:
        time.sleep(SECONDS_BETWEEN_SAMPLES)
        values: dict[str, float] = {}
        for monitor in monitors:
            monitor.collect_metrics()
            values |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        put({"kind": "load", "values": values, "time": time.time()})


def _monitors() -> Iterator[BaseMetricsMonitor]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    yield from (CPUMonitor(), DiskMonitor(), NetworkMonitor())
    with suppress(ImportError, RuntimeError):  # MLflow's words for no GPU
        yield GPUMonitor()
