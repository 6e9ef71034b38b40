"""The loop with everything around it played: who moves the arm, what ends an attempt, and that the arm holds then."""

from __future__ import annotations

import ctypes
import multiprocessing
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from lerobot.robots.so_follower import SO101FollowerConfig
from lerobot.teleoperators.so_leader import SO101LeaderConfig

from progress_datasets.errors import UserError
from progress_envs import arm
from progress_policies.run.attempt import Attempt
from progress_policies.run.board import Board, Layout
from progress_policies.run.config import Config
from progress_policies.run.crew import Crew
from progress_policies.run.ending import EndingOptions
from progress_policies.run.faults import Fault
from progress_policies.run.loop import Loop
from progress_policies.run.policy_worker import PolicyOptions
from progress_policies.run.robot import Trouble
from progress_policies.run.safety import SafetyOptions, limits_for
from progress_policies.run.start import Start
from progress_policies.run.talk import Talk

FPS = 100
HOME = np.array([0.0, -60.0, 60.0, 60.0, 0.0, 20.0])


class Arm:
    """An arm that is at once where it is sent."""

    names = state_names = arm.NAMES
    views: dict[str, tuple[int, int, int]] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.limits = limits_for(arm.NAMES, SafetyOptions(), FPS)
        self.at = HOME.copy()
        self.held: list[np.ndarray] = []
        self.sent: list[np.ndarray] = []
        self.broken: Exception | None = None

    def observe(self) -> tuple[np.ndarray, dict[str, Any], float]:
        if self.broken is not None:
            raise self.broken
        return self.at.copy(), {}, 0.0

    def present(self, state: np.ndarray) -> np.ndarray:
        return state

    def health(self, now: float) -> Fault | None:
        return None

    def take_loads(self) -> dict[str, float]:
        return {}

    def send(self, goal: np.ndarray, last: np.ndarray, present: np.ndarray) -> np.ndarray:
        self.at = goal.copy()
        self.sent.append(goal)
        return goal

    def hold(self, goal: np.ndarray) -> None:
        self.held.append(goal)


class Player:
    """A worker that answers at once by a function."""

    connection = None

    def __init__(self, name: str, answer: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        self.name, self.answer, self.alive = name, answer, True
        self.waiting: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.asked.append(message)
        if (answer := self.answer(message)) is not None:
            self.waiting.append(answer)

    def receive(self) -> Iterator[dict[str, Any]]:
        while self.waiting:
            yield self.waiting.pop(0)


class Keys:
    """Keys that are pressed at ticks."""

    fileno = None

    def __init__(self, loop: dict[str, Loop], plan: dict[int, str]) -> None:
        self.loop, self.plan = loop, plan

    def pressed(self) -> str:
        return self.plan.pop(self.loop["it"].tick, "")


def raising(message: dict[str, Any]) -> dict[str, Any] | None:
    """A policy that lifts the shoulder by a degree a tick, in chunks of 10."""
    if "look" not in message:
        return None
    start = message["look"]
    return {"tick": start, "actions": [[*HOME[:1], HOME[1] + (start + k) % 20, *HOME[2:]] for k in range(10)]}


def seeing(progress: float, success: float = 0.0) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    def answer(message: dict[str, Any]) -> dict[str, Any] | None:
        if "look" not in message:
            return None
        rest = {"stage": "reach", "uncertainty": 0.0, "answered": 0.0}
        return {"tick": message["look"], "progress": progress, "success": success, **rest}

    return answer


class Person:
    """A teleoperator that turns the wrist's roll."""

    def get_action(self) -> dict[str, float]:
        return dict(zip(arm.NAMES, [*HOME[:4], 50.0, HOME[5]], strict=True))


@pytest.fixture(autouse=True)
def answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Players need no time, so what they say is there at the next tick."""
    monkeypatch.setattr(Talk, "sources", lambda talk: talk.arrived(None) or [])


def play(
    policy: Any = raising,
    reward: Any = None,
    keys: dict[int, str] | None = None,
    teleop: Any = None,
    body: Arm | None = None,
    signalled: Callable[[], bool] = lambda: False,
    prepare: Callable[[Crew], None] = lambda crew: None,
    start: dict[str, float] | None = None,
    **ending: Any,
) -> tuple[Attempt, Arm, Loop, Crew]:
    body = body or Arm()
    layout = Layout(6, {}, 8)
    board = Board(multiprocessing.RawArray(ctypes.c_uint8, layout.size), layout)
    board.clear()
    players = {"policy": Player("policy", policy), "watchdog": Player("watchdog", lambda message: None)}
    if reward is not None:
        players["reward"] = Player("reward", reward)
    crew = Crew(board=board, beat=[0.0], said={"policy": {"used": 8}}, **players)  # type: ignore[arg-type]
    config = Config(
        robot=SO101FollowerConfig(port="none"),
        policy=PolicyOptions(path="played"),
        teleop=None if teleop is None else SO101LeaderConfig(port="none"),
        fps=FPS,
        start=start or {},
        ending=EndingOptions(**{"time_limit_s": 0.3, "stall_s": 0, "success_s": 0.05, **ending}),
        safety=SafetyOptions(stale_s=0.1),
    )
    holder: dict[str, Loop] = {}
    loop = Loop(config, body, crew, Keys(holder, keys or {}), teleop, signalled)  # type: ignore[arg-type]
    holder["it"] = loop
    prepare(crew)
    return loop.run(), body, loop, crew


def test_an_attempt_begins_where_it_is_told_to() -> None:
    asked: list[tuple[str, np.ndarray]] = []
    body = Arm()

    def noting(name: str, answer: Any) -> Any:
        def note(message: dict[str, Any]) -> dict[str, Any] | None:
            if "look" in message:
                asked.append((name, body.at.copy()))
            return answer(message)  # type: ignore[no-any-return]

        return note

    start = {"shoulder_pan": 20.0, "gripper": 60.0}
    attempt, _, loop, _ = play(
        noting("policy", raising), noting("reward", seeing(0.1)), body=body, start=start
    )
    assert attempt.ended_by == "time"
    assert {name for name, _ in asked[:2]} == {"policy", "reward"}
    assert all(np.allclose(at, [20, *HOME[1:5], 60], atol=0.01) for _, at in asked[:2])
    steps = np.abs(np.diff([HOME, *body.sent[:80]], axis=0)).max(axis=1)
    assert steps.max() <= 45 / FPS + 1e-6
    assert loop.started is not None


def test_an_arm_that_does_not_get_to_the_start_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("progress_policies.run.start._PATIENCE_S", 0.2)

    class Stuck(Arm):
        def send(self, goal: np.ndarray, last: np.ndarray, present: np.ndarray) -> np.ndarray:
            return goal

    attempt, body, _, crew = play(body=Stuck(), start={"elbow_flex": 72.0})
    assert (attempt.ended_by, attempt.outcome) == ("not_at_start", "failure")
    assert "elbow_flex is at 60.0, not at 72.0" in str(attempt.fault)
    assert len(body.held) == 1
    assert not any("look" in message for message in crew.policy.asked)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"elbow": 1.0}, "the robot has no 'elbow'; it has shoulder_pan"),
        ({"gripper": 120.0}, "gripper may not be at 120"),
        (dict(zip(arm.JOINTS, [0.0, 90.0, 0.0, 80.0, 0.0, 20.0], strict=True)), "below the floor"),
    ],
)
def test_a_start_that_cannot_be_is_refused(start: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Start(start, limits_for(arm.NAMES, SafetyOptions(), FPS), FPS)


def test_time_ends_an_attempt_and_the_arm_holds() -> None:
    attempt, body, loop, crew = play()
    assert (attempt.ended_by, attempt.outcome, attempt.fault) == ("time", "failure", None)
    assert len(body.held) == 1
    assert np.abs(body.held[0] - body.at).max() <= 5.0
    assert attempt.detected <= attempt.held
    assert attempt.waited <= 2
    assert crew.beat[0] > 0
    steps = np.abs(np.diff(body.sent, axis=0)).max(axis=0)
    assert (steps <= loop.arm.limits.step + 1e-9).all()


def test_a_joint_on_its_way_may_go_on_from_where_it_is_by_now() -> None:
    class Lagging(Arm):
        """Follows at 40 degrees a second."""

        def send(self, goal: np.ndarray, last: np.ndarray, present: np.ndarray) -> np.ndarray:
            self.at = self.at + np.clip(goal - self.at, -0.4, 0.4)
            return goal

    def leaping(message: dict[str, Any]) -> dict[str, Any] | None:
        start = message.get("look")
        return None if start is None else {"tick": start, "actions": [[*HOME[:4], 60.0, HOME[5]]] * 10}

    ticks = iter(range(20))

    def late() -> bool:
        if next(ticks, None) is not None:
            return False
        time.sleep(0.05)
        return True

    _, body, *_ = play(policy=leaping, body=Lagging(), signalled=late)
    further = body.held[0][4] - body.at[4] - 5.0
    assert 40 * 0.05 - 0.5 <= further <= 40 * 0.1


def test_calibrated_success_ends_an_attempt() -> None:
    attempt, *_ = play(reward=seeing(1.0, 0.97))
    assert (attempt.ended_by, attempt.outcome) == ("success", "success")
    assert attempt.progress is not None
    assert len(attempt.latency_ms) > 3


@pytest.mark.parametrize(
    ("key", "ended_by", "outcome"),
    [(" ", "emergency", "failure"), ("q", "person", "failure"), ("s", "person", "success")],
)
def test_keys(key: str, ended_by: str, outcome: str) -> None:
    attempt, body, loop, _ = play(keys={5: key})
    assert (attempt.ended_by, attempt.outcome) == (ended_by, outcome)
    assert loop.tick <= 6
    assert body.held


def test_ctrl_c() -> None:
    pressed = iter([False] * 5 + [True] * 5)
    attempt, body, *_ = play(signalled=lambda: next(pressed))
    assert attempt.ended_by == "interrupted"
    assert body.held


def test_what_is_wrong_with_actions() -> None:
    def bad(value: float) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
        return lambda message: (
            {"tick": message["look"], "actions": [[value] * 6] * 10} if "look" in message else None
        )

    for value, kind in ((float("nan"), "action_invalid"), (500.0, "action_range")):
        attempt, body, *_ = play(policy=bad(value))
        assert attempt.ended_by == kind
        assert all(np.isfinite(goal).all() for goal in body.sent)

    def short(message):
        return {"tick": message["look"], "actions": [[0.0] * 5] * 9} if "look" in message else None

    assert play(policy=short)[0].ended_by == "action_invalid"

    def once(message: dict[str, Any]) -> dict[str, Any] | None:
        return raising(message) if message.get("look") == 0 else None

    attempt, body, *_ = play(policy=once, time_limit_s=5.0)
    assert attempt.ended_by == "action_stale"
    np.testing.assert_allclose(body.sent[-1], body.sent[-5], err_msg="it waits where it is")


def test_who_is_gone() -> None:
    def die(name: str) -> Callable[[Crew], None]:
        return lambda crew: setattr(getattr(crew, name), "alive", False)

    for name in ("policy", "reward", "watchdog"):
        attempt, body, *_ = play(reward=seeing(0.1), prepare=die(name))
        assert attempt.ended_by == f"{name}_lost"
        assert body.held


def test_motors_may_fail_twice_but_not_for_long() -> None:
    body = Arm()
    observe, count = body.observe, iter(range(1000))

    def flaky() -> tuple[np.ndarray, dict[str, Any], float]:
        if next(count) % 4 in (2, 3):
            raise Trouble(Fault("bus", "lost"))
        return observe()

    body.observe = flaky  # type: ignore[method-assign]
    assert play(body=body)[0].ended_by == "time"
    dead = Arm()
    ticks = iter(range(1000))
    look = dead.observe

    def dies() -> tuple[np.ndarray, dict[str, Any], float]:
        if next(ticks) > 10:
            raise Trouble(Fault("bus", "unplugged"))
        return look()

    dead.observe = dies  # type: ignore[method-assign]
    attempt, *_ = play(body=dead)
    assert attempt.ended_by == "bus"
    assert not dead.held, "who may not hear everything is told nothing, and keeps the goal that it has"
    dead = Arm()
    dead.broken = Trouble(Fault("bus", "unplugged"))
    attempt, *_ = play(body=dead)
    assert attempt.ended_by == "bus", "from the first look on"


def test_a_mistake_in_the_loop_itself_stops_the_arm() -> None:
    body = Arm()
    looks, observe = iter(range(1000)), body.observe

    def wrong() -> tuple[np.ndarray, dict[str, Any], float]:
        if next(looks) > 5:
            raise KeyError("typo")
        return observe()

    body.observe = wrong  # type: ignore[method-assign]
    attempt, *_ = play(body=body)
    assert attempt.ended_by == "crash"
    assert "typo" in str(attempt.fault)
    assert isinstance(attempt.error, KeyError)
    assert body.held


def test_a_person_takes_over_and_gives_back() -> None:
    attempt, body, loop, crew = play(teleop=Person(), keys={5: "h", 20: "r"})
    assert attempt.ended_by == "time"
    roll = np.array(body.sent)[:, 4]
    assert roll[4] == 0
    assert roll[19] > 10, "the person turned it"
    assert roll[19] <= 15 * loop.arm.limits.step[4] + 1e-6, "as fast as it may"
    assert roll[-1] < roll[20], "the policy turns it back"
    resets = [message for message in crew.policy.asked if "reset" in message]  # type: ignore[union-attr]
    assert len(resets) == 2, "the policy begins anew after that"


def test_a_persons_actions_are_held_to_the_same_limits() -> None:
    class Wild(Person):
        def __init__(self, **other: float) -> None:
            self.goal = {**dict(zip(arm.NAMES, [*HOME[:4], 170.0, HOME[5]], strict=True)), **other}

        def get_action(self) -> dict[str, float]:
            return self.goal

    attempt, body, loop, _ = play(teleop=Wild(), keys={2: "h"}, time_limit_s=2.0)
    assert attempt.ended_by == "time"
    assert attempt.clipped >= attempt.by_person > 20
    sent = np.array(body.sent)
    assert sent[:, 4].max() <= loop.arm.limits.high[4] < 170
    assert (np.abs(np.diff(sent, axis=0)).max(axis=0) <= loop.arm.limits.step + 1e-9).all()
    for value, kind in ((float("nan"), "action_invalid"), (500.0, "action_range")):
        attempt, body, *_ = play(teleop=Wild(**{"elbow_flex.pos": value}), keys={2: "h"})
        assert attempt.ended_by == kind
        assert all(np.isfinite(goal).all() for goal in body.sent)
        assert body.held
    partial = Wild()
    del partial.goal["gripper.pos"]
    assert play(teleop=partial, keys={2: "h"})[0].ended_by == "action_invalid"


def test_a_teleoperator_may_miss_a_packet_but_not_be_gone() -> None:
    class Shaky(Person):
        asked, missing = 0, (3, 4)

        def get_action(self) -> dict[str, float]:
            self.asked += 1
            if self.asked in self.missing or len(self.missing) > 2 < self.asked:
                raise ConnectionError("no status packet")
            return super().get_action()

    assert play(teleop=Shaky(), keys={2: "h"})[0].ended_by == "time"
    gone = Shaky()
    gone.missing = (3, 4, 5)
    attempt, body, *_ = play(teleop=gone, keys={2: "h"})
    assert attempt.ended_by == "teleop_lost"
    assert gone.asked == 5
    assert body.held


def test_while_a_teleoperator_hangs_the_loop_gives_no_sign_of_life() -> None:
    beats: list[float] = []
    crews: list[Crew] = []

    class Slow(Person):
        def get_action(self) -> dict[str, float]:
            beats.append(crews[0].beat[0])
            time.sleep(0.1)
            beats.append(crews[0].beat[0])
            return super().get_action()

    play(teleop=Slow(), keys={2: "h"}, prepare=crews.append)
    assert len(beats) >= 4
    assert beats[0] == beats[1] < beats[2] == beats[3], "the watchdog counts from when it was asked"


def test_trouble_hands_over_at_once_and_help_is_not_judged() -> None:
    stuck = {"reward": seeing(0.2), "stall_s": 0.1, "time_limit_s": 0.6, "on_trouble": "teleop"}
    attempt, body, loop, _ = play(**stuck, teleop=Person())
    assert attempt.ended_by == "time"
    assert np.array(body.sent)[-1, 4] > 3, "the person turns it"
    assert 3 < attempt.by_person < loop.tick - 2
    attempt, *_ = play(**stuck, teleop=Person(), keys={40: "r"})
    assert attempt.ended_by == "time"


def test_what_is_said_of_the_attempt_before_is_not_heard() -> None:
    _, _, loop, crew = play(reward=seeing(0.1))
    talk = Talk(crew, loop.keys, Attempt(), 8, first=50)
    late = [{"tick": 49, "actions": [HOME.tolist()] * 10}], [{**seeing(1.0, 1.0)({"look": 49})}]  # type: ignore[dict-item]
    crew.policy.waiting, crew.reward.waiting = late  # type: ignore[union-attr]
    talk.arrived(None)
    assert talk.estimate is None
    assert talk.queue.due(50) is None
    crew.reward.waiting = [seeing(1.0, 1.0)({"look": 50})]  # type: ignore[union-attr]
    talk.arrived(None)
    assert talk.estimate is not None


def test_a_policy_that_says_one_action_at_a_time_is_followed() -> None:
    def one(message: dict[str, Any]) -> dict[str, Any] | None:
        answer = raising(message)
        return answer and {**answer, "actions": answer["actions"][:1]}

    attempt, body, *_ = play(policy=one)
    assert attempt.ended_by == "time"
    assert attempt.waited <= 2
    assert np.ptp(np.array(body.sent)[:, 1]) > 3


def test_trouble_asks_for_help() -> None:
    stuck = {"reward": seeing(0.2), "stall_s": 0.1, "time_limit_s": 0.6}
    attempt, *_ = play(**stuck)
    assert attempt.ended_by == "stall"
    attempt, body, *_ = play(**stuck, on_trouble="ask")
    assert attempt.ended_by == "time"
    np.testing.assert_allclose(body.sent[-1], body.sent[-20], err_msg="it waits for a key")
    attempt, body, *_ = play(**stuck, on_trouble="ask", keys={30: "q"})
    assert attempt.ended_by == "person"
