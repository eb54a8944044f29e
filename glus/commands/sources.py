"""`glus sources`: what DVC runs before it looks at the steps, see `glus.pipeline.sources`."""

from __future__ import annotations

import typer


def sources() -> None:
    """Note the state of raw data and given weights in sources/, so that DVC notices what has changed."""
    from glus.config import load_config
    from glus.execution.devices import require_device
    from glus.pipeline.project import link_external
    from glus.pipeline.sources import update_sources

    config = load_config()
    if config.compute.engine == "local":
        require_device(config.compute)  # `dvc repro` begins here
    link_external(config)
    changed = update_sources(config)
    for step in changed:
        typer.echo(f"what {step} reads from outside of the pipeline has changed")
    if not changed:
        typer.echo("raw data and given weights: up to date")
