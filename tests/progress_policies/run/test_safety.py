"""Whatever a policy asks for, what is sent stays within limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_datasets.errors import UserError
from progress_envs import arm
from progress_policies.run.arm_model import ArmModel
from progress_policies.run.safety import (
    SafetyOptions,
    check_joints,
    gate,
    limits_for,
    outside_workspace,
    still_goal,
)

OPTIONS = SafetyOptions()
LIMITS = limits_for(arm.NAMES, OPTIONS, fps=30)
HOME = np.array([0.0, -60.0, 60.0, 60.0, 0.0, 20.0])

anything = st.floats(allow_nan=True, allow_infinity=True)
near = st.floats(-130, 130)
shares = st.lists(st.floats(0, 1), min_size=6, max_size=6)


def named(values: list[float] | np.ndarray) -> dict[str, float]:
    return dict(zip(arm.NAMES, map(float, values), strict=True))


def inside(share: list[float]) -> np.ndarray:
    return LIMITS.low + np.array(share) * (LIMITS.high - LIMITS.low)


@given(st.lists(st.one_of(anything, near), min_size=6, max_size=6), shares, shares)
def test_what_is_sent_is_within_all_limits(
    action: list[float], present: list[float], last: list[float]
) -> None:
    here, before = inside(present), inside(last)
    verdict = gate(LIMITS, named(action), here, before)
    assert (verdict.goal is None) != (verdict.fault is None)
    if verdict.goal is None:
        return
    assert (verdict.goal >= LIMITS.low - 1e-9).all()
    assert (verdict.goal <= LIMITS.high + 1e-9).all()
    if outside_workspace(LIMITS, before) is None:
        assert outside_workspace(LIMITS, verdict.goal) is None


@given(st.lists(near, min_size=6, max_size=6), shares)
def test_a_goal_neither_jumps_nor_runs_ahead(action: list[float], last: list[float]) -> None:
    before = inside(last)
    goal = gate(LIMITS, named(action), before, before).goal
    if goal is not None:
        assert (np.abs(goal - before) <= np.minimum(LIMITS.step, LIMITS.lead) + 1e-9).all()


@given(st.lists(near, min_size=6, max_size=6), st.integers(0, 5), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_what_is_no_number_is_refused(action: list[float], joint: int, bad: float) -> None:
    action[joint] = bad
    fault = gate(LIMITS, named(action), HOME, HOME).fault
    assert fault is not None
    assert fault.kind == "action_invalid"
    assert arm.NAMES[joint] in fault.detail


def test_huge_and_incomplete_actions_are_refused_and_small_excess_is_clipped() -> None:
    assert gate(LIMITS, named(HOME + 1000), HOME, HOME).fault.kind == "action_range"  # type: ignore[union-attr]
    assert gate(LIMITS, {"gripper.pos": 1.0}, HOME, HOME).fault.kind == "action_invalid"  # type: ignore[union-attr]
    shut = HOME.copy()
    shut[5] = -8.0
    verdict = gate(LIMITS, named(shut), HOME, HOME)
    assert verdict.fault is None
    assert verdict.clipped


def test_an_allowed_action_is_sent_as_it_is() -> None:
    asked = HOME + 1.0
    verdict = gate(LIMITS, named(asked), HOME, HOME)
    assert verdict.goal is not None
    assert not verdict.clipped
    np.testing.assert_allclose(verdict.goal, asked)


def test_the_arm_does_not_go_through_the_table() -> None:
    goal, down = HOME.copy(), HOME.copy()
    down[1] = 95.0
    for _ in range(200):
        verdict = gate(LIMITS, named(down), goal, goal)
        assert verdict.goal is not None
        goal = verdict.goal
        assert ArmModel.load().place(goal).lowest >= OPTIONS.floor
    assert goal[1] > HOME[1], "it went down as far as it may"


def test_outside_the_workspace_only_the_way_back_is_open() -> None:
    tight = limits_for(arm.NAMES, SafetyOptions(workspace_low=[0.0, -0.1, 0.0]), fps=30)
    away = HOME.copy()
    away[0] = 60.0
    assert outside_workspace(tight, away) is not None
    back, further = away.copy(), away.copy()
    back[0], further[0] = 0.0, 100.0
    assert gate(tight, named(back), away, away).goal is not None
    assert gate(tight, named(further), away, away).fault.kind == "workspace"  # type: ignore[union-attr]


def test_joints_that_stand_outside_or_seem_to_jump() -> None:
    assert check_joints(LIMITS, HOME, HOME, 0.03) is None
    bent = HOME.copy()
    bent[0] = 140.0
    assert check_joints(LIMITS, bent, None, 0.0).kind == "joint_limit"  # type: ignore[union-attr]
    jumped = HOME.copy()
    jumped[2] -= 50.0
    assert check_joints(LIMITS, jumped, HOME, 0.03).kind == "implausible"  # type: ignore[union-attr]
    assert check_joints(LIMITS, jumped, HOME, 0.5) is None, "within reach in half a second"
    assert check_joints(LIMITS, np.full(6, np.nan), None, 0.0).kind == "implausible"  # type: ignore[union-attr]


def test_limits_are_the_models_or_narrower() -> None:
    np.testing.assert_allclose(LIMITS.hard_low, arm.LOW, atol=1e-6)
    np.testing.assert_allclose(LIMITS.hard_high, arm.HIGH, atol=1e-6)
    narrow = limits_for(arm.NAMES, SafetyOptions(joints={"shoulder_pan": [-60, 60]}), fps=30)
    assert (narrow.low[0], narrow.high[0]) == (-60, 60)
    for joints, what in (
        ({"shoulder_pan": [-170.0, 60.0]}, "wider than the arm's model"),
        ({"knee": [0.0, 1.0]}, "has no 'knee'"),
        ({"gripper": [3.0, 3.0]}, "give \\[LOW, HIGH\\]"),
    ):
        with pytest.raises(UserError, match=what):
            limits_for(arm.NAMES, SafetyOptions(joints=joints), fps=30)


def test_two_arms_and_a_base() -> None:
    both = [f"{side}_{name}" for side in ("left", "right") for name in arm.NAMES]
    assert len(limits_for(both, OPTIONS, 30).arms) == 2
    mobile = [*(f"arm_{name}" for name in arm.NAMES), "x.vel"]
    with pytest.raises(UserError, match=r"'x\.vel' has no limits"):
        limits_for(mobile, OPTIONS, 30)
    limits = limits_for(mobile, SafetyOptions(joints={"x.vel": [-0.2, 0.2]}), 30)
    present = np.array([*HOME, 0.1])
    assert still_goal(limits, present)[-1] == 0.0
    asked = dict(zip(mobile, [*HOME, 0.3], strict=True))
    assert gate(limits, asked, present, present).goal[-1] == pytest.approx(0.2)  # type: ignore[index]


def test_the_models_tool_is_where_the_arms_formulas_say() -> None:
    model = ArmModel.load()
    for joints in (HOME, np.array([30.0, 10.0, 20.0, 50.0, 0.0, 0.0])):
        np.testing.assert_allclose(model.place(joints).tool, arm.forward(joints).position, atol=2e-3)


def test_models_that_do_not_do(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match="no such file"):
        ArmModel.load("nowhere.xml")
    free = tmp_path / "free.xml"
    free.write_text('<mujoco><worldbody><body><joint name="a"/><geom size=".1"/></body></worldbody></mujoco>')
    with pytest.raises(UserError, match="needs a range"):
        ArmModel.load(str(free))
