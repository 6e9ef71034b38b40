"""One simulated robot for all tests of this folder: starting one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from progress_envs.hardware.faults import Faults
from progress_envs.hardware.simulated import SimulatedRobot


@pytest.fixture(scope="session")
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
