"""A LeRobot robot as the loop sees it: joints and pictures in, goals out, and every way of failing as a fault."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from lerobot.robots import Robot, RobotConfig, make_robot_from_config
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_policies.run.faults import Fault
from progress_policies.run.health import Health
from progress_policies.run.motors import BUS_ERRORS, Motors, sleep_for_answers
from progress_policies.run.safety import (
    Joints,
    Limits,
    SafetyOptions,
    check_joints,
    limits_for,
    outside_workspace,
    still_goal,
)

Images = Mapping[str, NDArray[np.uint8]]


_TIMEOUT_S = 0.045
"""LeRobot's drivers wait a little longer than this for an answer."""

_STRAGGLE_S = 0.01
"""How late an answer still comes, as a rule."""

_EARLY = 1.02
"""So much faster than needed a motor goes to its goal, that it is there when the next one is due."""

_CATCH_UP_S = 0.5
"""About how long a motor takes for what it lags behind."""

_TRIES = 5
"""LeRobot's drivers ask only once for what they write and read while they connect."""


class Trouble(Exception):
    """Something that a tick may survive once or twice, but not for long."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class Arm:
    """A robot with limits.

    Attributes:
        robot: LeRobot's, unmodified.
        names: keys of its actions.
        state_names: keys of the numbers that it observes.
        views: by camera, height and width and 3.
        limits: checked against the arm's model.
    """

    def __init__(self, config: RobotConfig, options: SafetyOptions, fps: float) -> None:
        """Make the robot; nothing is opened.

        Raises:
            UserError: limits and robot do not fit.
        """
        limit_steps(config, options.lead)
        try:
            self.robot: Robot = make_robot_from_config(config)
        except ImportError as error:
            raise UserError(
                f"--robot.type={config.type}: {_line(error)}; pip install 'progress-rm[hardware]'"
            ) from error
        self.motors = Motors(self.robot, options)
        self.options = options
        self._fps = fps
        self.names = tuple(self.robot.action_features)
        seen = self.robot.observation_features
        self.state_names = tuple(name for name, kind in seen.items() if not isinstance(kind, tuple))
        self.views = {
            name: (int(kind[0]), int(kind[1]), 3)
            for name, kind in seen.items()
            if isinstance(kind, tuple) and kind[2] == 3
        }
        unseen = [name for name in self.names if name not in self.state_names]
        if unseen:
            raise UserError(
                f"--robot.type={config.type}: does not tell where '{unseen[0]}' is; choose another robot"
            )
        strange = self.motors.not_in_degrees()
        if strange:
            raise UserError(
                f"--robot: '{strange[0]}' is not measured in degrees; set --robot.use_degrees=true"
            )
        self.limits = self._within_calibration(limits_for(self.names, options, fps))
        self._own = np.array([self.state_names.index(name) for name in self.names])
        self._health = Health(self.motors, options)

    def check(self) -> None:
        """Look at the arm before its motors are enabled: calibration, joints, workspace, temperature; set ceilings.

        Raises:
            UserError: it must not be moved as it is.
        """
        for left in reversed(range(_TRIES if self.motors else 0)):
            try:
                self._check()
            except BUS_ERRORS as error:
                if not left:
                    raise UserError(
                        f"--robot: the motors do not answer ({_line(error)}); check power, cable and port"
                    ) from error
            else:
                return

    def _check(self) -> None:
        try:
            self.motors.open()
            for prefix in self.motors.uncalibrated():
                raise UserError(
                    f"--robot.id={self.robot.id}: the {prefix.strip('_') or 'arm'} is not calibrated as on file; "
                    "run lerobot-calibrate with the same type, port and id first"
                )
            found = self.motors.positions()
            present = np.array([found.get(name, 0.0) for name in self.names])
            fault = check_joints(self.limits, present, None, 0.0)
            outside = outside_workspace(self.limits, np.clip(present, self.limits.low, self.limits.high))
            if fault is not None or outside is not None:
                raise UserError(
                    f"--safety: the arm stands where it may not be ({fault or outside}); move it inside by hand first"
                )
            hot = {k: v for k, v in self.motors.health("temperature").items() if v > self.options.temperature}
            if hot:
                name, degrees = max(hot.items(), key=lambda item: item[1])
                raise UserError(f"--safety.temperature: {name} has {degrees:.0f} °C; let it cool down first")
            self.motors.set_ceilings()
        finally:
            self.motors.close()

    def connect(self) -> None:
        """Enable the motors and start the cameras.

        Raises:
            UserError: a motor or a camera does not answer.
        """
        for left in reversed(range(_TRIES)):
            try:
                self.robot.connect(calibrate=False)
                sleep_for_answers(self.motors.buses)
                self.motors.set_ceilings()
            except (*BUS_ERRORS, TimeoutError, ValueError) as error:
                self.disconnect()
                if not left:
                    raise UserError(
                        f"--robot: cannot connect ({_line(error)}); check power, cables and cameras"
                    ) from error
            else:
                return

    def observe(self) -> tuple[Joints, Images, float]:
        """The state [n] in the order of `state_names`, the pictures, and when the oldest was taken (monotonic seconds).

        Raises:
            Trouble: motors or a camera did not answer.
        """
        try:
            with self._exchange():
                seen = self.robot.get_observation()
        except (*BUS_ERRORS, TimeoutError) as error:
            raise Trouble(self._blame(error)) from error
        state = np.array([seen[name] for name in self.state_names], dtype=np.float64)
        return state, {view: np.asarray(seen[view]) for view in self.views}, self._taken()

    def present(self, state: Joints) -> Joints:
        """[n] the state in the order of `names`."""
        return np.asarray(state[self._own])

    def send(self, goal: Joints, last: Joints, present: Joints) -> Joints:
        """Send a goal [n]; what was sent.

        Motors go there evenly until the next goal is due, as whoever demonstrated or the policy's env did. Left to
        themselves they would jump and stop, tick by tick.

        Args:
            goal: [n].
            last: [n] the goal before.
            present: [n] where the joints are.

        Raises:
            Trouble: the motors did not answer.
        """
        asked = self._by_name(goal)
        speed = np.maximum(_EARLY * self._fps * np.abs(goal - last), np.abs(goal - present) / _CATCH_UP_S)
        try:
            with self._exchange():
                self.motors.set_speeds(self._by_name(speed))
                sent = self.robot.send_action(asked)
            wrong = [name for name in self.names if abs(sent[name] - asked[name]) > self.options.lead]
            if wrong and self.motors:
                # The driver asks the motors once more where they are, and a garbled answer makes it send nonsense.
                self.motors.hold(asked)
                raise Trouble(Fault("implausible", f"the driver understood {wrong[0]} wrongly"))
        except (*BUS_ERRORS, TimeoutError, ValueError) as error:
            raise Trouble(self._blame(error)) from error
        return np.array([float(sent[name]) for name in self.names])

    def hold(self, goal: Joints) -> None:
        """Stay at a goal [n], without asking cameras.

        Raises:
            Trouble: the motors did not answer.
        """
        named = self._by_name(still_goal(self.limits, goal))
        try:
            if self.motors:
                # What is left of the way is not worth waiting for.
                self.motors.set_speeds(dict.fromkeys(self.names, math.inf))
                self.motors.hold(named)
            if not self.motors or self.limits.moves.any():
                self.robot.send_action(named)
        except BUS_ERRORS as error:
            raise Trouble(self._blame(error)) from error

    def relax(self, only: Sequence[str] | None = None) -> list[str]:
        """Take the torque away, or `only` from some motors; names of those that were not reached."""
        if self.motors:
            return self.motors.relax(only)
        self.robot.disconnect()
        return []

    def disconnect(self) -> None:
        """Close everything; torque stays as it is."""
        self.motors.close()
        for camera in getattr(self.robot, "cameras", {}).values():
            if getattr(camera, "is_connected", False):
                camera.disconnect()
        if not self.motors and self.robot.is_connected:
            self.robot.disconnect()

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """Nothing of an earlier exchange answers in this one, nor anything of this one in the next.

        Drivers ask again when an answer is late, and then get two; they tell answers apart by nothing but the motor.
        """
        self.motors.flush()
        begun = time.monotonic()
        try:
            yield
        finally:
            if time.monotonic() - begun > _TIMEOUT_S and self.motors:
                time.sleep(_STRAGGLE_S)
                self.motors.flush()

    def health(self, now: float) -> Fault | None:
        """What is wrong with a motor, if anything.

        Raises:
            Trouble: the motors did not answer.
        """
        if not (self.motors and self._health.due(now)):
            return None
        try:
            with self._exchange():
                return self._health.look(now)
        except BUS_ERRORS as error:
            raise Trouble(self._blame(error)) from error

    def take_loads(self) -> Mapping[str, float]:
        """Percent of full torque, by motor, if `health` has read them since this was last asked; else nothing."""
        return self._health.take_loads()

    def _by_name(self, values: Joints) -> dict[str, float]:
        return dict(zip(self.names, map(float, values), strict=True))

    def _within_calibration(self, limits: Limits) -> Limits:
        """Limits that the servos, as calibrated, can reach."""
        low, high = limits.low.copy(), limits.high.copy()
        for name, (least, most) in self.motors.spans().items():
            k = self.names.index(name)
            low[k], high[k] = max(low[k], least), min(high[k], most)
        if not (low < high).all():
            name = self.names[int(np.argmin(high - low))]
            raise UserError(
                f"--robot.id={self.robot.id}: nothing is left of the range of {name}; calibrate again"
            )
        return replace(limits, low=low, high=high)

    def _blame(self, error: BaseException) -> Fault:
        """Whether a camera or the motors failed."""
        cameras = getattr(self.robot, "cameras", {})
        blind = [name for name, camera in cameras.items() if not getattr(camera, "is_connected", True)]
        if blind or isinstance(error, TimeoutError):
            return Fault("camera_lost", f"{blind[0]} is disconnected" if blind else _line(error))
        return Fault("bus", _line(error))

    def _taken(self) -> float:
        """When the oldest of the latest pictures was taken, where cameras say so."""
        now = time.monotonic()
        cameras = getattr(self.robot, "cameras", {}).values()
        stamps = [stamp for c in cameras if (stamp := getattr(c, "latest_timestamp", None)) is not None]
        # LeRobot's cameras use perf_counter, which need not be the monotonic clock.
        return now - (time.perf_counter() - min(stamps)) if stamps else now


def limit_steps(config: Any, lead: float) -> None:
    """Set LeRobot's `max_relative_target` where it is missing or wider than ours."""
    for name, value in vars(config).items():
        if name == "max_relative_target":
            given = value.values() if isinstance(value, dict) else [value]
            if any(v is None or v > lead for v in given):
                config.max_relative_target = float(lead)
        elif name.endswith("_config") and hasattr(value, "max_relative_target"):
            limit_steps(value, lead)


def _line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
