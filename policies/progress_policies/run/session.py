"""A session at a robot: prepare, run attempts, save them, and leave the arm at rest whatever happens."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from lerobot.teleoperators import make_teleoperator_from_config

from progress_datasets.errors import UserError
from progress_policies.run import crew as crews
from progress_policies.run.attempt import Attempt
from progress_policies.run.config import Config
from progress_policies.run.crew import Crew, Players
from progress_policies.run.keys import EMERGENCY, HELP, QUIT, Keys, open_keys
from progress_policies.run.loop import Loop
from progress_policies.run.motors import BUS_ERRORS, find_buses, sleep_for_answers
from progress_policies.run.priority import first_claim
from progress_policies.run.robot import Arm, Trouble
from progress_policies.run.start import Start


class Session:
    """One robot, one crew, any number of attempts.

    Args:
        config: the options.
        show: tells a person what happens.
        players: who plays policy and reward model, if not those of the options.
        lay_out: puts things in their places before each attempt, given its number; where a program does that.

    Attributes:
        attempts: what they were like.
        saved: numbers of the recorded episodes; None where an episode was lost.
        unreachable: motors that could not be let go in the end.
        relaxed: when the arm was let go, in monotonic seconds.
        crew, loop: the processes and the loop, from their start on.
    """

    def __init__(
        self,
        config: Config,
        show: Callable[[str], None] = lambda text: None,
        players: Players | None = None,
        lay_out: Callable[[int], object] | None = None,
    ) -> None:
        self.config, self.show, self.players, self.lay_out = config, show, players, lay_out
        self.attempts: list[Attempt] = []
        self.saved: list[int | None] = []
        self.unreachable: list[str] = []
        self.relaxed = 0.0
        self.crew: Crew | None = None
        self.loop: Loop | None = None
        self._signals = 0

    def run(self) -> None:
        """All attempts.

        Raises:
            UserError: something is not in order before the arm moves.
        """
        arm = Arm(self.config.robot, self.config.safety, self.config.fps)
        # What cannot be is refused before anything moves.
        Start(self.config.start, arm.limits, self.config.fps)
        self.crew = crew = crews.start(self.config, arm, self.players)
        try:
            crew.wait_until_ready()
            crews.check_policy(crew, arm)
            # Only now, with everything ready and checked, are motors enabled.
            arm.check()
            with open_keys() as keys, self._interruptible(), self._teleoperator(arm) as teleop:
                arm.connect()
                # Not while connecting: drivers wait busily, and the system would throttle the claim.
                with first_claim():
                    self._attempts(arm, crew, keys, teleop)
        finally:
            crew.stop()
            arm.disconnect()

    def _attempts(self, arm: Arm, crew: Crew, keys: Keys, teleop: Any) -> None:
        loop = Loop(self.config, arm, crew, keys, teleop, lambda: self._signals > 0, self.show)
        self.loop = loop
        arm.motors.alive = lambda: self._alive(crew)
        self._alive(crew)
        crew.watchdog.send({"armed": True})
        try:
            self._first_look(loop)
            loop.hold()
            for number in range(self.config.episodes):
                if number and not self._reset(loop, keys):
                    break
                self._prepare(crew)
                self._lay_out(number, crew)
                attempt = loop.run()
                self.attempts.append(attempt)
                self._save(loop, attempt)
                if attempt.fault is not None:
                    break
        finally:
            self._come_to_rest(loop, keys)
            crew.watchdog.send({"armed": False})

    def _first_look(self, loop: Loop) -> None:
        """Cameras may need a moment for their first picture."""
        until = time.monotonic() + 5.0
        while True:
            try:
                loop.observe()
            except Trouble as trouble:
                self._alive(loop.crew)
                if time.monotonic() > until:
                    raise UserError(f"--robot: {trouble.fault}; check cables and cameras") from trouble
                time.sleep(0.02)
            else:
                return

    def _prepare(self, crew: Crew) -> None:
        """Let the recorder open an episode."""
        if crew.recorder is None:
            return
        crew.recorder.send({"begin": True})
        message = self._await(crew, 60.0)
        if message is None or "begun" not in message:
            reason = (message or {}).get("failed", "the recorder does not answer")
            raise UserError(f"--recording.root={self.config.recording.root}: {reason}")

    def _lay_out(self, number: int, crew: Crew) -> None:
        """Have things put in their places, while the watchdog is kept informed; the arm may be put elsewhere, too."""
        if self.lay_out is None:
            return
        with ThreadPoolExecutor(1) as hands:
            work = hands.submit(self.lay_out, number)
            while not work.done():
                self._alive(crew)
                time.sleep(0.01)
        work.result()

    def _save(self, loop: Loop, attempt: Attempt) -> None:
        """Let the recorder save, while the arm holds."""
        recorder = loop.crew.recorder
        if recorder is None:
            return
        facts = {"outcome": attempt.outcome, "ended_by": attempt.ended_by}
        if attempt.fault is not None:
            facts["fault"] = attempt.fault.detail
        recorder.send({"end": facts})
        message = self._await(loop.crew, 120.0, loop.hold)
        number = (message or {}).get("saved")
        self.saved.append(number)

    def _await(self, crew: Crew, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> Any:
        """The recorder's next message of weight; the watchdog is kept informed."""
        assert crew.recorder is not None
        until = time.monotonic() + seconds
        while crew.recorder.alive and time.monotonic() < until:
            self._alive(crew)
            message = crew.recorder.wait(0.02)
            if message is not None and ("failed" in message or "full" not in message):
                return message
            meanwhile()
        return None

    def _reset(self, loop: Loop, keys: Keys) -> bool:
        """Hold while somebody puts things back; whether to go on."""
        self.show(f"\nput things back; the next attempt begins in {self.config.reset_s:g} s. {HELP}\n")
        until = time.monotonic() + self.config.reset_s
        while time.monotonic() < until:
            self._alive(loop.crew)
            if self._signals or any(key in keys.pressed() for key in (EMERGENCY, QUIT)):
                return False
            loop.hold()
            time.sleep(0.02)
        return True

    def _come_to_rest(self, loop: Loop, keys: Keys) -> None:
        """Hold, let the torque fade, let go; a second Ctrl-C or emergency key lets go at once."""
        options, motors = self.config.safety, loop.arm.motors
        signals, until = self._signals, time.monotonic() + options.hold_s

        def pressed() -> bool:
            return self._signals > signals or EMERGENCY in keys.pressed()

        while time.monotonic() < until and not pressed():
            self._alive(loop.crew)
            loop.hold()
            time.sleep(0.01)
        if not options.relax:
            return
        motors.fade()
        until = time.monotonic() + options.release_s
        lost = loop.arm.relax()
        while lost and time.monotonic() < until:
            self._alive(loop.crew)
            if len(lost) == sum(len(bus.motors) for bus in motors.buses.values()):
                # None at all: perhaps the cable has been plugged in again.
                with suppress(*BUS_ERRORS):
                    motors.reopen()
            lost = loop.arm.relax(lost)
        self.unreachable = lost
        self.relaxed = time.monotonic()

    @staticmethod
    def _alive(crew: Crew) -> None:
        crew.beat[0] = time.monotonic()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C and a polite kill are counted, and stop the arm in order."""

        def count(number: int, frame: FrameType | None) -> None:
            self._signals += 1

        before = {s: signal.signal(s, count) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _teleoperator(self, arm: Arm) -> Iterator[Any]:
        if self.config.teleop is None:
            yield None
            return
        kind, name = self.config.teleop.type, self.config.teleop.id
        teleop = make_teleoperator_from_config(self.config.teleop)
        missing = [joint for joint in arm.names if joint not in teleop.action_features]
        if missing:
            raise UserError(
                f"--teleop.type={kind}: does not say where '{missing[0]}' is to go; choose one that moves the robot's "
                "own joints, such as its leader arm"
            )
        try:
            teleop.connect(calibrate=False)
            sleep_for_answers(find_buses(teleop))
        except BUS_ERRORS as error:
            raise UserError(f"--teleop: cannot connect ({error}); check power, cable and port") from error
        try:
            if not teleop.is_calibrated:
                raise UserError(
                    f"--teleop.id={name}: is not calibrated as on file; run lerobot-calibrate with the same type, "
                    "port and id first"
                )
            yield teleop
        finally:
            # It is nothing that the arm depends on any more.
            with suppress(*BUS_ERRORS):
                teleop.disconnect()


def show_on_terminal(text: str) -> None:
    """For a person; nothing where nobody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(text)
        sys.stderr.flush()
