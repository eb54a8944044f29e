"""Sections `tracking` and `compute`: where and how wide; of these only the precision changes artifacts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from glus.config.base import Section

NumProcesses = Annotated[int, Field(ge=1, le=1024)]  # of one machine; more is a slip of the finger


class TrackingConfig(Section):
    """MLflow; changes no artifact."""

    enabled: bool
    experiment: Annotated[str, Field(min_length=1)]
    variant: str  # name under which this configuration is compared


class ComputeConfig(Section):
    """Where and how wide; but for the precision, nothing here changes an artifact beyond float rounding."""

    engine: Literal["local", "prefect", "ray"]  # where shards of videos are worked on, see docs/engines.md
    shards: NumProcesses  # that a step's videos are spread in by `prefect` and `ray`
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    activation_checkpointing: bool  # layers are computed again in the backward pass instead of being kept: less memory
    processes: NumProcesses  # that train, segment and score side by side on one machine; one for each GPU
    machines: NumProcesses  # that train together, each with as many processes
    rendezvous: str | None  # host:port of one of the machines, where they meet; null: there is one
    strategy: Literal["ddp", "fsdp", "zero2"]  # what several processes share out: nothing, all weights, the optimiser
    keep_checkpoints: NumProcesses  # states of an interrupted training that are kept, the newest ones
    threads: NumProcesses  # torch's own threads per process
    workers: Annotated[int, Field(ge=0, le=1024)]  # that load data, of each training process; also in `stage`
