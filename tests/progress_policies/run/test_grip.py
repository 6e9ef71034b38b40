"""Grippers: how they hold what they have gripped."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from progress_envs.arm import NAMES
from progress_policies.run.grip import Grip

STILL = np.zeros(6)


def pose(gripper: float) -> np.ndarray:
    return np.array([0.0, -60.0, 60.0, 60.0, 0.0, gripper])


def test_a_goal_comes_as_much_nearer_as_the_load_is_too_high() -> None:
    grip = Grip(NAMES, 20.0)
    grip.feel({"gripper": 50.0, "shoulder_pan": 90.0}, pose(40.0), pose(20.0), STILL)
    np.testing.assert_allclose(grip.ease(pose(20.0), pose(40.0)), pose(32.0))
    # What slips is followed.
    np.testing.assert_allclose(grip.ease(pose(20.0), pose(38.0)), pose(30.0))
    # A goal that pulls less stays.
    np.testing.assert_allclose(grip.ease(pose(35.0), pose(40.0)), pose(35.0))


def test_opening_is_free_and_ends_it() -> None:
    grip = Grip(NAMES, 20.0)
    grip.feel({"gripper": 50.0}, pose(40.0), pose(20.0), STILL)
    np.testing.assert_allclose(grip.ease(pose(70.0), pose(40.0)), pose(70.0))
    np.testing.assert_allclose(grip.ease(pose(20.0), pose(60.0)), pose(20.0))


def test_what_moves_is_not_held_and_other_joints_are_left_alone() -> None:
    grip = Grip(NAMES, 20.0)
    grip.feel({"gripper": 90.0, "elbow_flex": 90.0}, pose(40.0), pose(20.0), pose(-50.0))
    np.testing.assert_allclose(grip.ease(pose(20.0), pose(40.0)), pose(20.0))
    free = Grip(NAMES, 0.0)
    free.feel({"gripper": 90.0}, pose(40.0), pose(20.0), STILL)
    np.testing.assert_allclose(free.ease(pose(20.0), pose(40.0)), pose(20.0))


def test_every_arm_has_its_gripper_and_a_new_attempt_forgets() -> None:
    names = ("left_elbow_flex.pos", "left_gripper.pos", "right_gripper.pos")
    grip = Grip(names, 20.0)
    present, goal = np.array([0.0, 40.0, 40.0]), np.array([30.0, 20.0, 20.0])
    grip.feel({"left_gripper": 40.0, "right_gripper": 10.0}, present, goal, np.zeros(3))
    np.testing.assert_allclose(grip.ease(goal, present), [30.0, 30.0, 20.0])
    grip.reset()
    np.testing.assert_allclose(grip.ease(goal, present), goal)


@given(load=st.floats(0, 100), ahead=st.floats(-30, 30), wanted=st.floats(0, 100), present=st.floats(0, 100))
def test_a_goal_never_pulls_harder_than_before_nor_the_other_way(
    load: float, ahead: float, wanted: float, present: float
) -> None:
    grip = Grip(NAMES, 20.0)
    grip.feel({"gripper": load}, pose(50.0), pose(50.0 + ahead), STILL)
    eased = grip.ease(pose(wanted), pose(present))[5] - present
    assert abs(eased) <= abs(wanted - present) + 1e-9
    assert eased * (wanted - present) >= 0
