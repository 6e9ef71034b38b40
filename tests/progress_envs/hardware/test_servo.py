"""What a servo does between its registers and its gear."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_envs.hardware import feetech, mounting
from progress_envs.hardware.feetech import FeetechServo, unsigned
from progress_envs.hardware.kinds import KINDS
from progress_envs.hardware.servo import ERROR_HEAT, ERROR_OVERLOAD, ROOM, TOP_SPEED, Drive, nearest
from progress_envs.hardware.simulation import Simulation

TICK = 0.005


def make_servo(torque: bool = True, **registers: int) -> FeetechServo:
    servo = FeetechServo(1, mount=2047)
    servo.place(0.0)
    for name, value in registers.items():
        address = getattr(feetech, name)
        size = 2 if name in ("GOAL", "SPEED", "LIMIT", "MAX_TORQUE") else 1
        servo.write(address, value.to_bytes(size, "little"))
    servo.write(feetech.TORQUE, bytes([torque]))
    return servo


def follow(servo: FeetechServo, seconds: float, load: float = 0.0) -> list[float]:
    """Where the servo pulls to, tick by tick, when the joint is always where it pulls to."""
    targets: list[float] = []
    for _ in range(round(seconds / TICK)):
        drive = servo.step(TICK, targets[-1] if targets else 0.0, 0.0, load)
        assert drive.target is not None
        targets.append(drive.target)
    return targets


def test_a_limp_servo_does_not_pull_and_aims_at_where_it_is() -> None:
    servo = make_servo(torque=False)
    assert servo.step(TICK, 321.0, 0.0, 0.0) == Drive(None, 0.0, 0.0, 0.0)
    servo.write(feetech.TORQUE, b"\x01")
    assert servo.step(TICK, 321.0, 0.0, 0.0).target == 321.0


def test_it_gets_to_its_goal_no_faster_than_its_motor_can() -> None:
    targets = follow(make_servo(GOAL=2047 + 1000), 0.5)
    steps = [after - before for before, after in zip([0.0, *targets], targets, strict=False)]
    assert max(steps) <= TOP_SPEED * TICK + 1e-9
    assert targets[-1] == 1000
    assert targets.index(1000) * TICK == pytest.approx(1000 / TOP_SPEED, abs=2 * TICK)


def test_speed_and_acceleration_registers_limit_it() -> None:
    targets = follow(make_servo(GOAL=2047 + 400, SPEED=500), 1.0)
    assert targets.index(400) * TICK == pytest.approx(400 / 500, abs=2 * TICK)
    gentle = follow(make_servo(GOAL=2047 + 400, ACCELERATION=10), 2.0)
    assert gentle[round(0.2 / TICK)] == pytest.approx(0.5 * 1000 * 0.2**2, rel=0.1)
    assert gentle[-1] == 400


@given(st.lists(st.integers(0, 4095), min_size=1, max_size=5), st.integers(1, 253))
def test_no_goal_and_no_acceleration_make_it_overshoot(goals: list[int], acceleration: int) -> None:
    servo = make_servo(ACCELERATION=acceleration)
    for goal in goals:
        start = follow(servo, TICK)[-1]
        servo.write(feetech.GOAL, goal.to_bytes(2, "little"))
        aim = goal - 2047
        # It may still be on its way elsewhere, at most as far as it needs to brake.
        slack = TOP_SPEED**2 / (200 * acceleration) + TOP_SPEED * TICK
        for target in follow(servo, 0.3):
            assert min(start, aim) - slack <= target <= max(start, aim) + slack


def test_torque_registers_limit_its_torque_and_gains_its_stiffness() -> None:
    servo = make_servo(LIMIT=400)
    assert servo.step(TICK, 0.0, 0.0, 0.0).torque == 0.4
    # The permanent limit is taken over into the other one, as when the power comes.
    servo.write(feetech.MAX_TORQUE, (250).to_bytes(2, "little"))
    servo.write(feetech.GAIN_P, bytes([16]))
    drive = servo.step(TICK, 0.0, 0.0, 0.0)
    assert (drive.torque, drive.stiffness, drive.damping) == (0.25, 1.0, 1.0)


def test_pulling_too_hard_for_too_long_holds_it_back_until_it_is_sent_the_other_way() -> None:
    servo = make_servo(GOAL=2047 + 500)
    for _ in range(round(1.9 / TICK)):
        drive = servo.step(TICK, 0.0, 0.0, 0.9)
    assert (servo.overloaded, drive.torque, servo.error) == (False, 1.0, 0)
    for _ in range(round(0.2 / TICK)):
        drive = servo.step(TICK, 0.0, 0.0, 0.9)
    assert (servo.overloaded, drive.torque, servo.error) == (True, 0.2, ERROR_OVERLOAD)
    servo.write(feetech.GOAL, (2047 + 600).to_bytes(2, "little"))
    assert servo.step(TICK, 0.0, 0.0, 0.2).torque == 0.2
    servo.write(feetech.GOAL, (2047 - 100).to_bytes(2, "little"))
    assert servo.step(TICK, 0.0, 0.0, 0.2).torque == 1.0


def test_switching_the_torque_ends_an_overload() -> None:
    servo = make_servo()
    servo.overloaded = True
    servo.write(feetech.TORQUE, b"\x00")
    assert servo.error == 0


def test_short_strains_are_no_overload() -> None:
    servo = make_servo()
    for _ in range(5):
        for load, seconds in ((1.0, 1.5), (0.1, 0.05)):
            for _ in range(round(seconds / TICK)):
                servo.step(TICK, 0.0, 0.0, load)
    assert not servo.overloaded


def test_work_warms_it_and_heat_makes_it_let_go() -> None:
    servo = make_servo()
    for _ in range(200):
        servo.step(1.0, 0.0, 0.0, 0.3)
    assert ROOM + 1 < servo.temperature < ROOM + 7
    servo.heat(69.9)
    assert servo.step(TICK, 0.0, 0.0, 0.0).target is not None
    servo.heat(70.0)
    assert servo.step(TICK, 0.0, 0.0, 0.0).target is None
    assert servo.read(feetech.TORQUE, 1) == b"\x00"
    assert servo.error == ERROR_HEAT
    servo.heat(None)
    assert servo.error == 0


@given(st.integers(300, 3799), st.floats(-1000, 1000))
def test_a_calibrated_servo_shows_2047_at_its_mark_however_it_is_mounted(mount: int, place: float) -> None:
    entry = {"homing_offset": mount - mounting.MIDDLE, "range_min": 500, "range_max": 3500}
    servo = FeetechServo(1, mount, feetech.calibrated(1, entry))
    servo.place(place)
    assert abs(int.from_bytes(servo.read(feetech.POSITION, 2), "little") - (2047 + place)) <= 0.5
    assert abs(servo.orders().goal - place) <= 0.5


@given(st.floats(-1e5, 1e5))
def test_the_nearest_place_is_the_same_place(ticks: float) -> None:
    near = nearest(ticks)
    assert -2048 <= near < 2048
    assert abs((near - ticks) / 4096 - round((near - ticks) / 4096)) < 1e-6


def test_the_mounting_of_an_arm_is_its_own_and_fits_the_offset_register() -> None:
    so101 = KINDS["so101"]
    assert so101.mounts(0) == so101.mounts(0) != so101.mounts(1)
    for seed in range(20):
        for entry in so101.calibration(seed).values():
            assert feetech.signed(unsigned(entry["homing_offset"], 11), 11) == entry["homing_offset"]
            assert 0 <= entry["range_min"] < entry["range_max"] <= 4095


def test_servos_read_where_a_hand_holds_them_in_the_same_tick() -> None:
    # Whoever calibrates presses Enter when the arm is seen in the middle.
    servos = [make_servo(torque=False) for _ in range(6)]
    simulation = Simulation("PickPlace", servos, None, None)
    try:
        simulation.begin(0)
        simulation.hold_in_the_middle()
        simulation.tick()
        seen = simulation.world.joints()
    finally:
        simulation.close()
    np.testing.assert_allclose(seen, mounting.MARKS, atol=1e-6)
    np.testing.assert_allclose([servo.position for servo in servos], 0.0, atol=1e-6)
