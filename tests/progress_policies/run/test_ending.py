"""When an attempt is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from progress_policies.run.ending import EndingOptions, begin, help_came, judge
from progress_rm.models.base import ProgressEstimate

unit = st.floats(0, 1)


def estimate(progress: float, uncertainty: float = 0.0, success: float = 0.0) -> ProgressEstimate:
    return ProgressEstimate(progress, "reach", {}, uncertainty, success)


def play(
    options: EndingOptions, estimates: list[ProgressEstimate | None], dt: float = 0.1
) -> tuple[str, float] | None:
    """Why and when an attempt with these answers, one every `dt` seconds, is over."""
    course = begin(0.0)
    for number, answer in enumerate(estimates):
        course, reason = judge(options, course, number * dt, answer)
        if reason is not None:
            return reason, number * dt
    return None


@given(st.lists(st.none() | st.builds(estimate, unit, unit, unit), min_size=60, max_size=60))
def test_time_ends_every_attempt(answers: list[ProgressEstimate | None]) -> None:
    ended = play(EndingOptions(time_limit_s=5.0), answers)
    assert ended is not None
    assert ended[1] <= 5.0 + 1e-9


@given(st.lists(st.builds(estimate, unit, unit, st.floats(0, 0.89)), max_size=100))
def test_no_success_below_the_threshold(answers: list[ProgressEstimate]) -> None:
    ended = play(EndingOptions(success=0.9, time_limit_s=60), answers)
    assert ended is None or ended[0] != "success"


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_success_must_last(ups: list[bool]) -> None:
    """It ends at the first tick that closes half a second of unbroken success, and not before."""
    options = EndingOptions(success=0.9, success_s=0.5, stall_s=0, time_limit_s=60)
    ended = play(options, [estimate(0.5, success=0.95 if up else 0.5) for up in ups])
    run, expected = 0, None
    for number, up in enumerate(ups):
        run = run + 1 if up else 0
        if run == 6:
            expected = number
            break
    assert (None if ended is None else round(ended[1] / 0.1)) == expected


@given(st.lists(st.floats(0.021, 0.2), min_size=5, max_size=40))
def test_who_advances_is_not_stuck(gains: list[float]) -> None:
    options = EndingOptions(stall_s=0.15, regression=0, success=1.0, time_limit_s=60)
    progress, answers = 0.0, []
    for gain in gains:
        progress += gain
        answers.append(estimate(progress))
    assert play(options, answers) is None


def test_stall_is_no_progress_for_a_while_however_it_wobbles() -> None:
    options = EndingOptions(stall_s=2.0, stall_gain=0.05, time_limit_s=60)
    wobble = [estimate(0.3 + 0.01 * (number % 3)) for number in range(100)]
    reason, when = play(options, wobble) or ("", 0.0)
    assert reason == "stall"
    assert 1.9 < when < 2.2


def test_regression_must_exceed_the_uncertainty() -> None:
    options = EndingOptions(regression=0.3, regression_s=0.5, stall_s=0, time_limit_s=60)
    done, lost = [estimate(0.8)] * 5, 0.4
    assert (play(options, done + [estimate(lost, 0.02)] * 20) or ("",))[0] == "regression"
    assert play(options, done + [estimate(lost, 0.2)] * 20) is None
    assert play(options, done + [estimate(lost), estimate(0.79)] * 10) is None, "a moment does not count"


def test_doubt() -> None:
    options = EndingOptions(doubt=0.3, doubt_s=0.5, stall_s=0, time_limit_s=60)
    assert (play(options, [estimate(0.2, 0.35)] * 20) or ("",))[0] == "doubt"
    assert play(EndingOptions(stall_s=0), [estimate(0.2, 0.9)] * 20) is None


def test_help_starts_the_stall_anew_but_not_the_time() -> None:
    options = EndingOptions(stall_s=2.0, time_limit_s=5.0)
    course = begin(0.0)
    course, _ = judge(options, course, 1.9, estimate(0.0))
    course = help_came(course, 1.9)
    course, reason = judge(options, course, 3.0, estimate(0.0))
    assert reason is None
    assert judge(options, course, 5.0, estimate(0.0))[1] == "time"
