"""`progress-rm run`: a policy on a robot, followed by a reward model, recorded, and kept within limits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from progress_datasets.errors import Failed
from progress_policies.run.attempt import Attempt
from progress_policies.run.config import Config
from progress_policies.run.session import Session, show_on_terminal

__all__ = ["Config", "run"]

_INTERRUPTED = 130
"""Exit code, as of every verb that Ctrl-C ends."""


def run(config: Config) -> list[dict[str, Any]]:
    """Run the attempts; prints one JSON object for each and returns them.

    Raises:
        UserError: something is not in order before the arm moves.
        Failed: a fault ended an attempt, an attempt could not be saved, or the arm could not be let go.
        RuntimeError: the loop itself failed, after the arm was stopped.
    """
    session = Session(config, show_on_terminal)
    session.run()
    found = []
    for number, attempt in enumerate(session.attempts):
        summary = summarise(attempt)
        if session.saved:
            summary["episode"] = session.saved[number]
        found.append(summary)
        print(json.dumps(summary))
    for attempt in session.attempts:
        if attempt.error is not None:
            raise RuntimeError("the loop failed and the arm was stopped") from attempt.error
    if session.unreachable:
        raise Failed(f"{', '.join(session.unreachable)} could not be let go; switch off the arm's power")
    if config.recording.root and None in session.saved:
        raise Failed(f"--recording.root={config.recording.root}: the last attempt could not be saved")
    for attempt in session.attempts:
        if attempt.fault is not None:
            interrupted = attempt.fault.kind == "interrupted"
            raise Failed(f"the arm was stopped: {attempt.fault}", _INTERRUPTED if interrupted else 1)
    return found


def summarise(attempt: Attempt) -> dict[str, Any]:
    """An attempt in numbers."""
    summary: dict[str, Any] = {"ended_by": attempt.ended_by, "outcome": attempt.outcome}
    if attempt.fault is not None:
        summary["fault"] = str(attempt.fault)
    if attempt.progress is not None:
        summary |= {name: attempt.progress[name] for name in ("progress", "stage", "success")}
    summary |= attempt.pace
    if attempt.latency_ms:
        summary["latency_p50_ms"], summary["latency_p99_ms"] = np.percentile(
            attempt.latency_ms, (50, 99)
        ).tolist()
    return {**summary, "clipped": attempt.clipped, "waited": attempt.waited, "by_person": attempt.by_person}
