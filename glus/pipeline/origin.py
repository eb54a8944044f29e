"""Where the numbers of a run came from, in words: what its passport says, short enough to stand beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glus.pipeline.passport import Passport
from glus.reporting.run_facts import Origin, machine_in_words

SHOWN = 12  # characters of a digest


def origin_of(passport: Passport, file: Path) -> Origin:
    """What a passport says.

    Args:
        file: the passport, as `glus replay` is to be given it.
    """
    code = passport.code
    changed = f" and {len(code.changed)} changed files" if code.changed else ""
    return Origin(
        seed=passport.seed,
        commit=f"{code.commit[:SHOWN]}{changed}" if code.commit else "outside of git",
        lock=(passport.lock_sha256 or "")[:SHOWN],
        data=(passport.data or "")[:SHOWN],
        weights=", ".join(f"{name} {digest[:SHOWN]}" for name, digest in _digests(passport.weights)),
        protocols=", ".join(
            f"{split}: {found['protocol']} {found['version']} on {found['data']}"
            for split, found in passport.protocols.items()
        ),
        machine=machine_in_words(passport.hardware),
        passport=file.as_posix(),
    )


def _digests(weights: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of trained models and given weights: name and digest."""
    states = [(name, state["state"] if isinstance(state, dict) else state) for name, state in weights.items()]
    return [(name, state) for name, state in states if isinstance(state, str)]
