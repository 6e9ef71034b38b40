"""How people differ at the same task: speed, pauses, slips, detours, undone work, giving up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from progress_datasets.errors import UserError

QUALITIES = ("expert", "hesitant", "clumsy", "failing", "fooling", "varied")
"""Regions of the space of styles; "varied" is all of it."""


@dataclass(frozen=True)
class Style:
    """One demonstrator's manner: a point in a continuum, of which the qualities are regions.

    Attributes:
        speed: factor on the expert's nominal speed.
        pause_rate: pauses and little back-and-forths per second of free motion.
        pause: shortest and longest pause, seconds.
        wobble: metres a free motion may bow away from the straight way.
        miss, drop, detour, undo: probability for each grasp to miss, each carry to drop, to wander off, and each
            placed thing to be taken out again.
        mishaps: how many of these happen at most.
        stop_at: true progress at which it gives up, or None.
        fail_job: how many jobs (of `Task.jobs`) it finishes before the one at which it fails, or None.
        fail_mode: what goes wrong with that job, of `Task.fail_modes`.
        fooling: it makes the work look done while it is not (see `Task.fool`).
        linger: longest time it stays still after giving up, seconds.
    """

    speed: float = 1.0
    pause_rate: float = 0.0
    pause: tuple[float, float] = (0.3, 1.0)
    wobble: float = 0.006
    miss: float = 0.0
    drop: float = 0.0
    detour: float = 0.0
    undo: float = 0.0
    mishaps: int = 0
    stop_at: float | None = None
    fail_job: int | None = None
    fail_mode: str = ""
    fooling: bool = False
    linger: float = 2.0


def sample_style(
    quality: str, rng: np.random.Generator, jobs: int = 1, fail_modes: Sequence[str] = ()
) -> Style:
    """A demonstrator of that quality.

    Args:
        jobs: how many like pieces of work the task consists of; a failing one fails at any of them.
        fail_modes: mishaps that can end the work on a job.

    Raises:
        UserError: there is no such quality.
    """
    # Per job, so that four things do not mean four times the trouble.
    often = min(1.0, 1.6 / jobs)
    if quality == "expert":
        return Style(speed=rng.uniform(0.92, 1.12))
    if quality == "hesitant":
        return Style(
            speed=rng.uniform(0.5, 0.8), pause_rate=rng.uniform(0.3, 0.7), pause=(0.3, 1.6), wobble=0.015
        )
    if quality == "clumsy":
        mishaps = int(rng.integers(1, 4 if jobs == 1 else 5))
        return Style(
            speed=rng.uniform(0.75, 1.1),
            pause_rate=0.12,
            wobble=0.025,
            miss=0.40 * often,
            drop=0.40 * often,
            detour=0.45 * often,
            undo=0.25 * often,
            mishaps=mishaps,
        )
    if quality == "failing":
        usual = Style(speed=rng.uniform(0.6, 1.1), pause_rate=rng.uniform(0, 0.35), wobble=0.012)
        return _failing(usual, rng, jobs, fail_modes)
    if quality == "fooling":
        return Style(speed=rng.uniform(0.7, 1.1), pause_rate=rng.uniform(0, 0.3), wobble=0.012, fooling=True)
    if quality == "varied":
        return _varied(rng, jobs, often, fail_modes)
    raise UserError(f"quality '{quality}' is unknown; choose one of {', '.join(QUALITIES)}")


_PROBABILITY = (0.0, 1.0)
_RANGES = {
    "speed": (0.1, 3.0),
    "pause_rate": (0.0, 5.0),
    "wobble": (0.0, 0.1),
    "miss": _PROBABILITY,
    "drop": _PROBABILITY,
    "detour": _PROBABILITY,
    "undo": _PROBABILITY,
    "mishaps": (0.0, 100.0),
    "stop_at": _PROBABILITY,
    "fail_job": (0.0, 100.0),
    "linger": (0.0, 60.0),
}
"""What may be asked for, smallest and largest."""

_WHOLE = ("mishaps", "fail_job")


def with_style(style: Style, changes: Mapping[str, object]) -> Style:
    """The style with some of its fields set.

    Raises:
        UserError: there is no such field, or it cannot have that value.
    """
    names = [field.name for field in fields(Style)]
    for name, value in changes.items():
        if name not in names:
            raise UserError(f"style: '{name}' is unknown; choose from {', '.join(names)}")
        wanted = _misfit(name, value)
        if wanted:
            raise UserError(f"style: {name}={value} cannot be; give {wanted}")
    return replace(style, **changes)  # type: ignore[arg-type]


def _misfit(name: str, value: object) -> str:
    """What a field wants instead of that value; nothing if it fits."""
    if name in ("stop_at", "fail_job") and value is None:
        return ""
    if name == "fooling":
        return "" if isinstance(value, bool) else "true or false"
    if name == "fail_mode":
        return "" if isinstance(value, str) else "a word"
    if name == "pause":
        pair = list(value) if isinstance(value, list | tuple) else []
        fits = len(pair) == 2 and all(_is_number(v, 0.0, 60.0) for v in pair) and pair[0] <= pair[1]
        return "" if fits else "two numbers of seconds, the shortest and the longest"
    low, high = _RANGES[name]
    if name in _WHOLE:
        return (
            "" if isinstance(value, int) and _is_number(value, low, high) else f"a whole number from {low:g}"
        )
    return "" if _is_number(value, low, high) else f"a number from {low:g} to {high:g}"


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _failing(usual: Style, rng: np.random.Generator, jobs: int, fail_modes: Sequence[str]) -> Style:
    if not fail_modes or rng.random() < 0.6:
        return replace(usual, stop_at=rng.uniform(0.1, 0.95))
    mode = fail_modes[0] if rng.random() < 0.65 else fail_modes[-1]
    return replace(usual, fail_job=int(rng.integers(jobs)), fail_mode=mode, miss=0.1, mishaps=1)


def _varied(rng: np.random.Generator, jobs: int, often: float, fail_modes: Sequence[str]) -> Style:
    style = Style(
        speed=rng.uniform(0.45, 1.15),
        pause_rate=rng.uniform(0, 0.6),
        pause=(0.3, rng.uniform(0.5, 1.8)),
        wobble=rng.uniform(0.003, 0.03),
        miss=rng.uniform(0, 0.4) * often,
        drop=rng.uniform(0, 0.4) * often,
        detour=rng.uniform(0, 0.45) * often,
        undo=rng.uniform(0, 0.3) * often,
        mishaps=int(rng.integers(0, 5)),
    )
    end = rng.random()
    if end < 0.15:
        return replace(style, fooling=True)
    return _failing(style, rng, jobs, fail_modes) if end < 0.4 else style
