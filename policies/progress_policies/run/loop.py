"""The loop of one attempt: see, check, decide, send, tell, at a fixed rate."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from progress_policies.run import keys as k
from progress_policies.run.attempt import Attempt, Stop, Teleop
from progress_policies.run.cameras import CameraWatch, look_at_all
from progress_policies.run.config import Config
from progress_policies.run.crew import Crew, seen_at
from progress_policies.run.ending import TROUBLE, begin, help_came, judge
from progress_policies.run.faults import Fault
from progress_policies.run.grip import Grip
from progress_policies.run.motors import BUS_ERRORS
from progress_policies.run.pace import Pace
from progress_policies.run.reward_worker import estimate_of
from progress_policies.run.robot import Arm, Images, Trouble
from progress_policies.run.safety import Joints, check_joints, gate, still_goal
from progress_policies.run.start import Start
from progress_policies.run.talk import Talk

_FIRST_ACTION_S = 60.0
"""How long a policy may think about its first chunk, while the arm holds."""

_COAST = 5.0
"""How far a joint that has to stop may go on, in degrees or hundredths."""

STARTING, POLICY, PERSON, ASKING = "starting", "policy", "person", "asking"
"""Who moves the arm: the loop, to where attempts begin; the policy; a person with the teleoperator; or nobody until
somebody presses a key."""


class Loop:
    """Runs attempts on a connected arm.

    Attributes:
        pace: the rate.
        tick: number of the present tick, over all attempts.
        last: [n] the goal that was sent last.
        started: when the arm first moved in this attempt, monotonic seconds; None before.
    """

    def __init__(
        self,
        config: Config,
        arm: Arm,
        crew: Crew,
        keys: k.Keys,
        teleop: Teleop | None = None,
        signalled: Callable[[], bool] = lambda: False,
        show: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.config, self.arm, self.crew, self.keys = config, arm, crew, keys
        self.teleop, self.signalled, self.show = teleop, signalled, show
        self.pace = Pace(config.fps)
        self.tick = 0
        self.last: Joints = np.zeros(len(arm.names))
        self.started: float | None = None
        self._present: Joints = np.zeros(len(arm.names))
        self._quiet = False
        self._grip = Grip(arm.names, config.safety.grip)
        self._start = Start(config.start, arm.limits, config.fps)

    def run(self) -> Attempt:
        """One attempt; afterwards the arm holds."""
        attempt = self._attempt = Attempt()
        try:
            self._begin()
            while not attempt.ended_by:
                self.now = self.pace.wait(self.talk.sources(), self.talk.arrived)
                self._beat()
                self._step()
        except (Stop, Trouble) as stop:
            attempt.ended_by, attempt.fault = stop.fault.kind, stop.fault
        except Exception as error:  # noqa: BLE001 -- first the arm has to hold, then it is told
            attempt.fault = Fault("crash", f"{type(error).__name__}: {error}")
            attempt.ended_by, attempt.error = "crash", error
        attempt.detected = time.monotonic()
        self.halt()
        attempt.held = time.monotonic()
        attempt.pace = self.pace.report()
        return attempt

    def halt(self) -> None:
        """Come to a stand as soon as possible and hold there.

        What moves cannot stop on the spot: called back to where it was, it comes to rest later than at its last goal.
        So that stays, if it is near where the joint is by now; a joint that is far from it is blocked, and held where
        it is. Nobody is asked for that, as waiting for an answer that got lost takes longer than stopping. When it is
        the motors that do not answer, they have had time to come to rest at the last goal that reached them, which
        need not be the last one that was sent; so they are left alone.
        """
        self._quiet = self._attempt.ended_by == "bus"
        present = self._moved_on()
        near = np.clip(self.last, present - _COAST, present + _COAST)
        blocked = self._attempt.ended_by == "overload"
        self.last = still_goal(self.arm.limits, self._present if blocked else near)
        self.hold()

    def _moved_on(self) -> Joints:
        """[n] where the joints are by now, if they have kept their speed and not passed their goal."""
        since = 0.0 if self._before is None else time.monotonic() - self._before[1]
        way = self.last - self._present
        return self._present + np.clip(self._speed * since, np.minimum(way, 0), np.maximum(way, 0))

    def hold(self) -> bool:
        """Tell the arm to hold; whether it could be told, or knows it anyway."""
        if self._quiet:
            return True
        try:
            self.arm.hold(self.last)
        except Trouble:
            return False
        return True

    def observe(self) -> None:
        """Look once, before the first attempt or between two."""
        state, _, _ = self.arm.observe()
        self._present = self.arm.present(state)
        self.last = still_goal(self.arm.limits, self._present)

    def _begin(self) -> None:
        options = self.config.safety
        self._who = STARTING if self._start else self._first_mover
        used = int(self.crew.said.get("policy", {}).get("used", 1))
        self.talk = Talk(self.crew, self.keys, self._attempt, used, self.tick)
        self._watches = {name: CameraWatch(name, shape, options) for name, shape in self.arm.views.items()}
        self._before: tuple[Joints, float] | None = None
        self._speed: Joints = np.zeros(len(self.arm.names))
        self._failures = 0
        self._quiet = False
        self._grip.reset()
        self.observe()
        self.now = time.monotonic()
        if self._start:
            self._start.begin(self.last, self.now)
        self.started = None
        self._fed = self.talk.answered = self.now
        self._course = begin(self.now)
        self.crew.board.taken = self.tick - 1
        self.pace.restart()

    def _step(self) -> None:
        """One tick."""
        self._people()
        self._companions()
        try:
            state, images, stamp = self._see()
            self._beat()
            self._tell(state, images, stamp)
            goal = self._decide()
            sent = self.arm.send(goal, self.last, self._present)
            self._beat()
        except Trouble as trouble:
            self._failures += 1
            if self._failures > self.config.safety.bus_failures:
                raise Stop(trouble.fault) from trouble
            self.tick += 1
            return
        self._failures = 0
        self.last = sent
        self._record(sent)
        self._end_if_over()
        self.tick += 1

    def _beat(self) -> None:
        """A sign of life: after each exchange with the motors, which takes long if they do not answer."""
        self.crew.beat[0] = time.monotonic()

    def _people(self) -> None:
        if self.signalled():
            raise Stop(Fault("interrupted", "Ctrl-C"))
        for key in self.keys.pressed():
            if key == k.EMERGENCY:
                raise Stop(Fault("emergency", "space"))
            if key in (k.SUCCESS, k.FAILURE, k.QUIT):
                self._attempt.ended_by = "person"
                self._attempt.outcome = "success" if key == k.SUCCESS else "failure"
            elif key == k.HAND_OVER and self.teleop is not None:
                self._hand_over(PERSON)
            elif key == k.RESUME and self.crew.policy is not None and self._who != POLICY:
                self._resume()

    def _hand_over(self, who: str) -> None:
        """From now on somebody else moves the arm, and what the policy still answers means nothing."""
        self._who = who
        self.talk.forget_policy()

    def _resume(self) -> None:
        """The policy goes on from where a person left the arm."""
        self._who = POLICY
        self.talk.restart_policy()
        self._fed = self.now
        self._course = help_came(self._course, self.now)

    def _companions(self) -> None:
        """Whether everyone is there and keeps up."""
        crew, options = self.crew, self.config.safety
        for kind, worker in (("policy", crew.policy), ("reward", crew.reward), ("recorder", crew.recorder)):
            if worker is not None and not worker.alive:
                raise Stop(Fault(f"{kind}_lost", "the process is gone"))
        if not crew.watchdog.alive:
            raise Stop(Fault("watchdog_lost", "the process is gone"))
        if self.talk.full:
            raise Stop(Fault("disk_full", self.config.recording.root))
        if crew.recorder is not None and self.tick - crew.board.taken >= crew.board.layout.slots - 2:
            raise Stop(Fault("recorder_lost", f"{self.tick - crew.board.taken} frames behind"))
        if (
            crew.reward is not None
            and self.started
            and self.now - self.talk.answered > options.reward_stale_s
        ):
            raise Stop(Fault("reward_lost", f"no answer for {self.now - self.talk.answered:.1f} s"))

    def _see(self) -> tuple[Joints, Images, float]:
        state, images, stamp = self.arm.observe()
        present = self.arm.present(state)
        before, since = self._before or (None, self.now)
        fault = check_joints(self.arm.limits, present, before, self.now - since)
        if fault is not None:
            # A reading that was garbled on the way is gone at the next tick.
            raise Trouble(fault)
        if before is not None and self.now > since:
            self._speed = (present - before) / (self.now - since)
        self._before, self._present = (present, self.now), present
        self._beat()
        fault = look_at_all(self._watches, images, self.now, present) or self.arm.health(self.now)
        if fault is not None:
            raise Stop(fault)
        self._grip.feel(self.arm.take_loads(), present, self.last, self._speed)
        return state, images, stamp

    def _tell(self, state: Joints, images: Images, stamp: float) -> None:
        """Let the others see, and ask those who have nothing to do."""
        self.crew.board.put(seen_at(self.tick, self.now, state, images))
        if self._who == STARTING:
            # What policy and reward model see first is the start.
            return
        wanted = self._who == POLICY and self.talk.queue.wants_more(self.tick)
        self.talk.ask(self.tick, stamp, wanted, self.last.tolist())

    def _decide(self) -> Joints:
        """[n] the goal of this tick, within limits."""
        movers = {STARTING: self._approach, POLICY: self._policy, PERSON: self._person}
        action = movers[self._who]() if self._who in movers else None
        if action is None:
            return still_goal(self.arm.limits, self.last)
        verdict = gate(self.arm.limits, action, self._present, self.last)
        if verdict.goal is None:
            assert verdict.fault is not None
            raise Stop(verdict.fault)
        self._attempt.clipped += verdict.clipped
        return self._grip.ease(verdict.goal, self._present)

    def _approach(self) -> dict[str, float] | None:
        if self._start.there(self._present, self._speed):
            self._who, self._fed = self._first_mover, self.now
            return None
        fault = self._start.late(self._present, self.now)
        if fault is not None:
            raise Stop(fault)
        return dict(zip(self.arm.names, self._start.go().tolist(), strict=True))

    @property
    def _first_mover(self) -> str:
        return POLICY if self.crew.policy is not None else PERSON

    def _policy(self) -> dict[str, float] | None:
        due = self.talk.queue.due(self.tick)
        if due is None:
            self._attempt.waited += self.started is not None
            patience = self.config.safety.stale_s if self.started else _FIRST_ACTION_S
            if self.now - self._fed > patience:
                raise Stop(Fault("action_stale", f"no action for {self.now - self._fed:.1f} s"))
            return None
        self._fed = self.now
        self._start_clock()
        if len(due) != len(self.arm.names):
            raise Stop(Fault("action_invalid", f"{len(due)} numbers for {len(self.arm.names)} motors"))
        return dict(zip(self.arm.names, due.tolist(), strict=True))

    def _person(self) -> dict[str, float]:
        assert self.teleop is not None
        try:
            action = self.teleop.get_action()
        except BUS_ERRORS as error:
            # A leader arm loses packets as a follower does.
            raise Trouble(Fault("teleop_lost", f"{type(error).__name__}: {error}")) from error
        except Exception as error:
            raise Stop(Fault("teleop_lost", f"{type(error).__name__}: {error}")) from error
        self._start_clock()
        self._attempt.by_person += 1
        return action

    def _start_clock(self) -> None:
        if self.started is None:
            self.started = self.talk.answered = self.now
            self._course = begin(self.now)

    def _record(self, sent: Joints) -> None:
        if self.crew.recorder is None:
            return
        if self._who == ASKING or self.started is None:
            self.crew.board.taken = self.tick
            return
        self.crew.recorder.send(
            {"frame": self.tick, "action": sent.tolist(), "intervention": self._who == PERSON}
        )

    def _end_if_over(self) -> None:
        if self.started is None or self._attempt.ended_by:
            return
        estimate = None if self.talk.estimate is None else estimate_of(self.talk.estimate)
        self._course, reason = judge(self.config.ending, self._course, self.now, estimate)
        self._status()
        if reason in TROUBLE and self._who != POLICY:
            return
        if reason in TROUBLE and self.config.ending.on_trouble != "end":
            self.show(f"\a\n{reason}: the policy needs help. {k.HELP}\n")
            self._hand_over(PERSON if self.config.ending.on_trouble == "teleop" else ASKING)
        elif reason is not None:
            self._attempt.ended_by = reason
            self._attempt.outcome = "success" if reason == "success" else "failure"

    def _status(self) -> None:
        if self.talk.estimate is not None and self.tick % max(1, self.config.fps // 5) == 0:
            e, seconds = self.talk.estimate, self.now - (self.started or self.now)
            self.show(
                f"\r{seconds:6.1f} s  {self._who:<6}  progress {e['progress']:4.0%} ± {e['uncertainty']:.0%}"
                f"  success {e['success']:4.0%}  {e['stage'][:40]:<40}"
            )
