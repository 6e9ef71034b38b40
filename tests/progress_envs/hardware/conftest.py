"""One simulated robot for all tests of a module: starting one takes seconds, and one that runs on slows the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from progress_envs.hardware.faults import Faults
from progress_envs.hardware.simulated import SimulatedRobot


@pytest.fixture(scope="session")
def patience() -> Iterator[None]:
    """LeRobot's driver waits half a second for a reply instead of 50 ms; nothing else of it is changed.

    On a machine where ten processes want two processors, a niced test alone sleeps for longer than that.
    """
    feetech = pytest.importorskip("lerobot.motors.feetech.feetech")

    def wait_longer(port: Any, packet_length: int) -> None:
        port.packet_start_time = port.getCurrentTime()
        port.packet_timeout = 500.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feetech, "patch_setPacketTimeout", wait_longer)
        yield


@pytest.fixture(scope="module")
def shared_robot() -> Iterator[SimulatedRobot]:
    with SimulatedRobot("PickPlace", image_size=32, render="raycast") as robot:
        yield robot


@pytest.fixture
def robot(shared_robot: SimulatedRobot) -> Iterator[SimulatedRobot]:
    """The robot, sound, limp and at the beginning of an episode."""
    shared_robot.inject(Faults())
    shared_robot.power_cycle()
    shared_robot.reset(seed=0)
    yield shared_robot
    shared_robot.inject(Faults())
