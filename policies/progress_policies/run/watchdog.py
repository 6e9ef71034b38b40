"""The watchdog: a process of its own that stops the arm when the loop hangs or dies.

It shares nothing with the loop but a clock in shared memory. While it is armed and the clock stands still for too long,
it ends the loop, so that nothing else talks to the motors, opens their port itself, holds the arm and lets it sink.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import draccus
from lerobot.robots import RobotConfig, make_robot_from_config

from progress_policies.run.motors import BUS_ERRORS, Motors
from progress_policies.run.priority import first_claim
from progress_policies.run.safety import SafetyOptions
from progress_policies.run.workers import Inbox

_EVERY_S = 0.01
_TRY_FOR_S = 20.0
"""How long it tries to reach motors that do not answer."""


def watch(inbox: Inbox, beat: Any, loop: int, robot: dict[str, Any], options: SafetyOptions) -> None:
    """Watch until the loop says goodbye.

    Args:
        inbox: takes {"armed": bool} and the goodbye.
        beat: shared float64 [1], the monotonic clock at the loop's latest sign of life.
        loop: its process.
        robot: LeRobot's config of the robot, as JSON.
        options: how to stop.
    """
    config = without_cameras(draccus.decode(RobotConfig, robot))
    motors = Motors(make_robot_from_config(config), options)
    inbox.send({"ready": True})
    with first_claim():
        if not _lost(inbox, beat, options):
            return
        _end(loop)
        stop(motors, options)


def _lost(inbox: Inbox, beat: Any, options: SafetyOptions) -> bool:
    """Wait until the loop is lost with the arm under power (True), or leaves in order (False)."""
    armed = False
    while True:
        if inbox.wait(_EVERY_S):
            message = inbox.receive()
            if message is None:
                return armed and not inbox.left
            armed = message["armed"]
        if armed and time.monotonic() - beat[0] > options.watchdog_s:
            return True


def stop(motors: Motors, options: SafetyOptions) -> None:
    """Hold, then let go, as the options say; tries again while motors do not answer."""
    _insist(motors.reopen)
    _insist(motors.hold)
    if not options.relax:
        return
    time.sleep(options.hold_s)
    motors.fade()
    until = time.monotonic() + _TRY_FOR_S
    lost = motors.relax()
    while lost and time.monotonic() < until:
        time.sleep(_EVERY_S)
        lost = motors.relax(lost)
    motors.close()


def without_cameras(config: RobotConfig) -> RobotConfig:
    """The same robot blind: cameras belong to the loop."""
    for name, value in vars(config).items():
        if name == "cameras":
            config.cameras = {}
        elif hasattr(value, "cameras"):
            value.cameras = {}
    return config


def _insist(act: Any) -> None:
    until = time.monotonic() + _TRY_FOR_S
    while time.monotonic() < until:
        try:
            act()
        except BUS_ERRORS:
            time.sleep(_EVERY_S)
        else:
            return


def _end(loop: int) -> None:
    """End the loop for certain: one that wakes up later would move the arm again."""
    try:
        os.kill(loop, signal.SIGKILL)
    except ProcessLookupError:
        return
