"""When an attempt is over: success, stall, regression, doubt or time, decided from live progress alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from progress_rm.models.base import ProgressEstimate

ANSWERS = ("end", "ask", "teleop")


@dataclass
class EndingOptions:
    """When an attempt ends, and what happens when it does not go well."""

    success: float = 0.9
    """Probability of success, as calibrated, from which the attempt counts as done."""
    success_s: float = 0.5
    """Seconds for which it must hold."""
    stall_s: float = 15.0
    """Without progress for this long, in seconds, the arm is stuck; 0: never."""
    stall_gain: float = 0.02
    """What counts as progress."""
    regression: float = 0.3
    """Progress this far below its best, beyond its uncertainty, means that work was undone; 0: never."""
    regression_s: float = 1.0
    """Seconds for which it must hold."""
    doubt: float = 0.0
    """Uncertainty of progress from which the model is lost; 0: never."""
    doubt_s: float = 2.0
    """Seconds for which it must hold."""
    time_limit_s: float = 60.0
    """Seconds after which the attempt ends in any case."""
    on_trouble: str = "end"
    """On stall, regression or doubt: end, ask (hold and wait for a key), or teleop (a person takes over)."""

    def __post_init__(self) -> None:
        if self.on_trouble not in ANSWERS:
            raise ValueError(f"on_trouble={self.on_trouble}: choose one of {', '.join(ANSWERS)}")
        if not 0 < self.success <= 1:
            raise ValueError(f"success={self.success}: give a probability above 0, up to 1")
        if not self.time_limit_s > 0:
            raise ValueError(f"time_limit_s={self.time_limit_s}: give more than 0")
        for name in ("success_s", "stall_s", "stall_gain", "regression", "regression_s", "doubt", "doubt_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)}: give 0 or more")


@dataclass(frozen=True)
class Course:
    """What an attempt has been like so far; times in seconds.

    Attributes:
        start: when it began.
        best: the highest progress seen, as far as it counted as gained.
        gained_at: when progress was gained last.
        success_since, regression_since, doubt_since: since when, without a break; None if it is not so.
    """

    start: float
    best: float = 0.0
    gained_at: float = 0.0
    success_since: float | None = None
    regression_since: float | None = None
    doubt_since: float | None = None


SUCCESS, STALL, REGRESSION, DOUBT, TIME = "success", "stall", "regression", "doubt", "time"
TROUBLE = (STALL, REGRESSION, DOUBT)
"""Reasons on which a person may be asked for help."""


def begin(now: float) -> Course:
    """The course of an attempt that begins."""
    return Course(start=now, gained_at=now)


def help_came(course: Course, now: float) -> Course:
    """The course after a person has helped: what was lost is not held against the policy, but time goes on."""
    return Course(start=course.start, gained_at=now)


def judge(
    options: EndingOptions, course: Course, now: float, estimate: ProgressEstimate | None
) -> tuple[Course, str | None]:
    """The course a tick later, and why the attempt is over, if it is.

    Args:
        options: when it is.
        course: so far.
        now: seconds, not before the last tick's.
        estimate: the newest answer of the reward model; None if there is none, and then only time ends the attempt.
    """
    if estimate is not None:
        course = _follow(options, course, now, estimate)
        if _lasts(course.success_since, now, options.success_s):
            return course, SUCCESS
    if now - course.start >= options.time_limit_s:
        return course, TIME
    if estimate is not None:
        if options.regression and _lasts(course.regression_since, now, options.regression_s):
            return course, REGRESSION
        if options.doubt and _lasts(course.doubt_since, now, options.doubt_s):
            return course, DOUBT
        if options.stall_s and now - course.gained_at >= options.stall_s:
            return course, STALL
    return course, None


def _follow(options: EndingOptions, course: Course, now: float, estimate: ProgressEstimate) -> Course:
    if estimate.progress >= course.best + options.stall_gain:
        course = replace(course, best=estimate.progress, gained_at=now)
    lost = estimate.progress + estimate.uncertainty < course.best - options.regression
    return replace(
        course,
        success_since=_since(course.success_since, estimate.success >= options.success, now),
        regression_since=_since(course.regression_since, lost, now),
        doubt_since=_since(course.doubt_since, estimate.uncertainty >= options.doubt, now),
    )


def _since(before: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if before is None else before


def _lasts(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since >= seconds
