"""The fault campaign's runs in which the loop itself is lost, so that only the watchdog is left."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from typing import Any

import draccus
import robot_players
from lerobot.robots import RobotConfig, make_robot_from_config

from progress_envs.arm import NAMES
from progress_policies.run.motors import Motors
from progress_policies.run.safety import SafetyOptions
from progress_policies.run.watchdog import watch
from progress_policies.run.workers import Worker, context


def lose_loop(robot: Any, plan: Any, hold_s: float, watchdog_s: float) -> tuple[float, float]:
    """Move the arm as a loop does, then fall silent or be gone; when that began, and when it can be noticed.

    A process that sleeps stands for the loop: the watchdog ends it. The motion is made here, through LeRobot's driver.
    """
    config = robot.robot_config()
    options = SafetyOptions(hold_s=hold_s, relax_s=0.0, watchdog_s=watchdog_s)
    loop = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    beat = context().RawArray(ctypes.c_double, 1)
    arguments = (beat, loop.pid, draccus.encode(config, declared_type=RobotConfig), options)
    watchdog = Worker("watchdog", watch, *arguments)
    assert watchdog.wait(300) == {"ready": True}
    arm = make_robot_from_config(config)
    try:
        arm.connect(calibrate=False)
        begun = beat[0] = time.monotonic()
        watchdog.send({"armed": True})
        home = list(arm.bus.sync_read("Present_Position", num_retry=3).values())
        while (now := time.monotonic()) < begun + 0.4 + plan.after:
            beat[0] = now
            asked = robot_players.goal(home, now - begun)
            arm.send_action(dict(zip(NAMES, asked, strict=True)))
            time.sleep(1 / 30)
        silent = time.monotonic()
        if plan.act == "loop killed":
            watchdog.connection.close()
        loop.wait(10)
        watchdog.process.join(30)
    finally:
        loop.kill()
        Motors(arm, options).close()
        for camera in arm.cameras.values():
            camera.disconnect()
    return begun, silent if plan.act == "loop killed" else silent + watchdog_s
