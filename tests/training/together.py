"""Processes that train together in a test, as torchrun starts them."""

import multiprocessing
import os

from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def together(count, function, *arguments):
    """What `function(*arguments)` returns in each of some processes, by rank."""
    config = LaunchConfig(
        1, 1, count, run_id="test", rdzv_backend="c10d", rdzv_endpoint="localhost:0", local_addr="localhost",
        max_restarts=0, monitor_interval=0.05, start_method="forkserver",  # of no threads, unlike what runs the tests
    )  # fmt: skip
    multiprocessing.set_forkserver_preload(["glus.training.loop.trainer", "glus.steps.train"])  # once for all tests
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = elastic_launch(config, function)(*arguments)
    return [found[rank] for rank in range(count)]
