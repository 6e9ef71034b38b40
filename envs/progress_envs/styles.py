"""How people differ at the same task: speed, pauses, slips, detours, undone work, giving up."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from progress_datasets.errors import UserError

QUALITIES = ("expert", "hesitant", "clumsy", "failing")


@dataclass(frozen=True)
class Style:
    """One demonstrator's manner.

    Attributes:
        speed: factor on the expert's nominal speed.
        pause_rate: pauses and little back-and-forths per second of free motion.
        pause: shortest and longest pause, seconds.
        wobble: metres a free motion may bow away from the straight way.
        miss, drop, detour, undo: probability for each grasp to miss, each carry to drop, to wander off, and each
            placed thing to be taken out again.
        mishaps: how many of these happen at most.
        stop_at: true progress at which it gives up, or None.
        fail_thing: how many things it brings before the one at which it fails, or None.
        fail_mode: "drop" or "miss", what goes wrong with that thing.
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
    fail_thing: int | None = None
    fail_mode: str = ""
    linger: float = 2.0


def sample_style(quality: str, rng: np.random.Generator, things: int) -> Style:
    """A demonstrator of that quality.

    Args:
        things: how many things the task handles; a failing one fails at any of them.

    Raises:
        UserError: there is no such quality.
    """
    if quality == "expert":
        return Style(speed=rng.uniform(0.92, 1.12))
    if quality == "hesitant":
        return Style(
            speed=rng.uniform(0.5, 0.8), pause_rate=rng.uniform(0.3, 0.7), pause=(0.3, 1.6), wobble=0.015
        )
    if quality == "clumsy":
        # Per thing, so that four things do not mean four times the trouble.
        often = min(1.0, 1.6 / things)
        mishaps = int(rng.integers(1, 4 if things == 1 else 5))
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
        return _failing(usual, rng, things)
    raise UserError(f"quality '{quality}' is unknown; choose one of {', '.join(QUALITIES)}")


def _failing(usual: Style, rng: np.random.Generator, things: int) -> Style:
    if rng.random() < 0.6:
        return replace(usual, stop_at=rng.uniform(0.1, 0.95))
    mode = "drop" if rng.random() < 0.65 else "miss"
    return replace(usual, fail_thing=int(rng.integers(things)), fail_mode=mode, miss=0.1, mishaps=1)
