"""Dynamixel's packets and registers: the worked packets of ROBOTIS' e-Manual, and Dynamixel's own SDK."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_envs.hardware import dynamixel_registers as registers
from progress_envs.hardware import protocol2
from progress_envs.hardware import servo as servo_module
from progress_envs.hardware.dynamixel import DynamixelServo
from progress_envs.hardware.dynamixel_registers import XL330, XL430, Model
from progress_envs.hardware.kinds import KINDS
from progress_envs.hardware.protocol2 import DynamixelBus, crc, framed, request, unstuffed

TICK = 0.005
OLD = Model(1030, 80, (95, 160), 12.0, (330, 1023), 1193, 52, (0, 800, 1920, 100))
"""The XM430-W210 of the manual's examples."""

DONE = "ff ff fd 00 01 04 00 55 00 a1 0c"
EXAMPLES = {
    "ping": ("ff ff fd 00 01 03 00 01 19 4e", "ff ff fd 00 01 07 00 55 00 06 04 26 65 5d"),
    "ping everybody": (
        "ff ff fd 00 fe 03 00 01 31 42",
        "ff ff fd 00 01 07 00 55 00 06 04 26 65 5d ff ff fd 00 02 07 00 55 00 06 04 26 6f 6d",
    ),
    "read": ("ff ff fd 00 01 07 00 02 84 00 04 00 1d 15", "ff ff fd 00 01 08 00 55 00 a6 00 00 00 8c c0"),
    "write": ("ff ff fd 00 01 09 00 03 74 00 00 02 00 00 ca 89", DONE),
    "register a write": ("ff ff fd 00 01 09 00 04 68 00 c8 00 00 00 ae 8e", DONE),
    "factory reset": ("ff ff fd 00 01 04 00 06 01 a1 e6", DONE),
    "reboot": ("ff ff fd 00 01 03 00 08 2f 4e", DONE),
    "sync read": (
        "ff ff fd 00 fe 09 00 82 84 00 04 00 01 02 ce fa",
        "ff ff fd 00 01 08 00 55 00 a6 00 00 00 8c c0 ff ff fd 00 02 08 00 55 00 1f 08 00 00 ba be",
    ),
    "sync write": ("ff ff fd 00 fe 11 00 83 74 00 04 00 01 96 00 00 00 02 aa 00 00 00 82 87", ""),
}


def make_bus(*models: Model) -> DynamixelBus:
    made = models or (XL430, XL330)
    return DynamixelBus([DynamixelServo(model, number, mount=2047) for number, model in enumerate(made, 1)])


def put(servo: DynamixelServo, register: int, value: int) -> int:
    """Write one register; the error number."""
    return servo.write(register, (value % (1 << 32)).to_bytes(4, "little")[: servo.fields[register].size])


def get(servo: DynamixelServo, register: int) -> int:
    found = servo.read(register, servo.fields[register].size)
    assert found is not None
    return int.from_bytes(found, "little", signed=True)


@pytest.mark.parametrize(("asked", "answered"), EXAMPLES.values(), ids=EXAMPLES)
def test_the_manuals_packets(asked: str, answered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registers, "FIRMWARE", 38)
    bus = make_bus(OLD, OLD)
    for servo, place in zip(bus.servos, (166, 2079), strict=True):
        servo.place(place - 2047.0)
    assert bus.feed(bytes.fromhex(asked)) == bytes.fromhex(answered)


def test_what_the_manuals_packets_do() -> None:
    bus = make_bus(OLD, OLD)
    first, second = bus.servos
    bus.feed(bytes.fromhex(EXAMPLES["sync write"][0]))
    assert [get(servo, registers.GOAL) for servo in bus.servos] == [150, 170]
    bus.feed(bytes.fromhex(EXAMPLES["register a write"][0]))
    assert get(first, registers.REGISTERED) == 1
    assert get(first, registers.GOAL_VELOCITY) == 330
    assert bus.feed(bytes.fromhex("ff ff fd 00 01 03 00 05 02 ce")) == bytes.fromhex(DONE)
    assert get(first, registers.GOAL_VELOCITY) == 200
    # There is nothing left to do.
    assert bus.feed(bytes.fromhex("ff ff fd 00 01 03 00 05 02 ce"))[8] == registers.INSTRUCTION
    bus.feed(bytes.fromhex(EXAMPLES["reboot"][0]))
    assert get(first, registers.GOAL_VELOCITY) == 330
    bus.feed(bytes.fromhex(EXAMPLES["factory reset"][0]))
    assert (first.identity, bus.rate(first)) == (1, 57_600)
    assert (second.identity, bus.rate(second)) == (2, 1_000_000)


@given(st.binary(max_size=40), st.integers(0, 252))
def test_headers_in_data_are_stuffed_as_dynamixels_own_sdk_stuffs_them(body: bytes, identity: int) -> None:
    handler = pytest.importorskip("dynamixel_sdk").Protocol2PacketHandler()
    body = b"\x03" + body.replace(b"\x07", b"\xff\xff\xfd")
    plain = [255, 255, 253, 0, identity, len(body) + 2, 0, *body, 0, 0]
    theirs = handler.addStuffing(plain)
    packet = framed(identity, body)
    assert list(packet[:-2]) == theirs[: len(packet) - 2]
    assert handler.updateCRC(0, theirs, len(packet) - 2) == crc(packet[:-2])
    assert unstuffed(packet[7:-2]) == body


def test_a_value_that_looks_like_a_header_comes_through() -> None:
    bus = make_bus(XL330)
    put(bus.servos[0], registers.OPERATING_MODE, registers.EXTENDED_MODE)
    # 0xfffdffff is -131073: the bytes ff ff fd ff.
    goal = (-131_073).to_bytes(4, "little", signed=True)
    assert bus.feed(request(1, protocol2.WRITE, bytes([registers.GOAL, 0]) + goal)) == bytes.fromhex(DONE)
    assert get(bus.servos[0], registers.GOAL) == -131_073
    reply = bus.feed(request(1, protocol2.READ, bytes([registers.GOAL, 0, 4, 0])))
    assert unstuffed(reply[7:-2])[2:] == goal
    assert b"\xff\xff\xfd\xfd" in reply


@given(st.binary(max_size=300), st.binary(min_size=1, max_size=60), st.integers(0, 254))
def test_nothing_that_is_sent_breaks_the_bus(noise: bytes, body: bytes, identity: int) -> None:
    """After noise, and packets that mean nothing or anything, servos that are rebooted answer."""
    bus = make_bus()
    bus.feed(noise)
    bus.feed(framed(identity, body))
    for servo in bus.servos:
        servo.power_up()
        servo.step(TICK, 0.0, 0.0, 0.0)
        assert bus.feed(request(servo.identity, protocol2.PING))


def test_a_packet_that_lost_its_end_does_not_take_the_next_one_with_it() -> None:
    bus, ping = make_bus(), request(1, protocol2.PING)
    long = request(2, protocol2.WRITE, bytes([registers.GOAL, 0, 0, 2, 0, 0]))
    assert bus.feed(long[:9]) == b""
    assert bus.feed(ping)[4] == 1


@pytest.mark.parametrize(
    ("register", "value", "error"),
    [
        (registers.MODEL_NUMBER, 1, registers.ACCESS),
        (registers.POSITION, 1, registers.ACCESS),
        (registers.TORQUE, 2, registers.RANGE),
        (registers.OPERATING_MODE, 2, registers.RANGE),
        (registers.GOAL_PWM, 886, registers.RANGE),
        (registers.GOAL_VELOCITY, 446, registers.LIMIT),
        (registers.GOAL, 4096, registers.LIMIT),
        (registers.GOAL, -1, registers.LIMIT),
        (registers.GOAL, 4095, 0),
    ],
)
def test_what_must_not_be_written_is_refused_by_number(register: int, value: int, error: int) -> None:
    servo = DynamixelServo(XL330, 1, mount=2047)
    before = bytes(servo.memory)
    assert put(servo, register, value) == error
    assert (bytes(servo.memory) == before) == bool(error)


def test_half_a_register_and_none_at_all_cannot_be_written() -> None:
    servo = DynamixelServo(XL330, 1, mount=2047)
    assert servo.write(registers.GOAL, b"\x01\x00") == registers.LENGTH
    assert servo.write(14, b"\x01") == registers.ACCESS
    # Current is what an XL430 neither measures nor limits.
    current = (100).to_bytes(2, "little")
    assert DynamixelServo(XL430, 1, mount=0).write(registers.GOAL_CURRENT, current) == registers.ACCESS
    assert put(DynamixelServo(XL430, 1, mount=0), registers.OPERATING_MODE, 5) == registers.RANGE


def test_the_eeprom_is_locked_while_the_torque_is_on_and_outlives_the_power() -> None:
    servo = DynamixelServo(XL330, 1, mount=2047)
    put(servo, registers.TORQUE, 1)
    assert put(servo, registers.OFFSET, 7) == registers.ACCESS
    put(servo, registers.TORQUE, 0)
    assert put(servo, registers.OFFSET, -7) == 0
    put(servo, registers.SPEED, 9)
    servo.power_up()
    assert (get(servo, registers.OFFSET), get(servo, registers.SPEED)) == (-7, 0)


def test_the_offset_is_added_and_a_long_one_only_counts_beyond_a_turn() -> None:
    servo = DynamixelServo(XL330, 1, mount=3000)
    servo.place(10.0)
    put(servo, registers.OFFSET, 1024)
    assert get(servo, registers.POSITION) == 4034
    put(servo, registers.OFFSET, 2047 - 3000)
    assert get(servo, registers.POSITION) == 2057
    put(servo, registers.OFFSET, -2900)
    assert get(servo, registers.POSITION) == 3010
    put(servo, registers.OPERATING_MODE, registers.EXTENDED_MODE)
    assert get(servo, registers.POSITION) == 110
    put(servo, registers.GOAL, -1900)
    assert servo.orders().goal == -2000


def test_turns_are_counted_until_the_power_or_the_mode_is_gone() -> None:
    servo = DynamixelServo(XL330, 1, mount=100)
    put(servo, registers.OPERATING_MODE, registers.EXTENDED_MODE)
    servo.place(-300.0)
    assert get(servo, registers.POSITION) == -200
    servo.power_up()
    assert get(servo, registers.POSITION) == 3896
    servo.place(4000.0)
    assert get(servo, registers.POSITION) == 8196
    put(servo, registers.OPERATING_MODE, registers.POSITION_MODE)
    assert get(servo, registers.POSITION) == 4


def test_a_new_mode_comes_with_its_own_gains_and_goals() -> None:
    servo = DynamixelServo(XL330, 1, mount=2047)
    for register, value in {
        registers.GAIN_P: 1500,
        registers.SPEED: 50,
        registers.GOAL_PWM: 100,
    }.items():
        assert put(servo, register, value) == 0
    put(servo, registers.OPERATING_MODE, registers.POSITION_MODE)
    assert get(servo, registers.GAIN_P) == 1500
    put(servo, registers.OPERATING_MODE, registers.CURRENT_POSITION_MODE)
    values = [get(servo, one) for one in (registers.GAIN_P, registers.SPEED, registers.GOAL_PWM)]
    assert values == [400, 0, 885]


def test_current_limits_the_torque_in_the_grippers_mode_alone() -> None:
    servo = DynamixelServo(XL330, 1, mount=2047)
    put(servo, registers.GOAL_CURRENT, 350)
    assert servo.orders().limit == 1.0
    put(servo, registers.OPERATING_MODE, registers.CURRENT_POSITION_MODE)
    put(servo, registers.GOAL_CURRENT, 350)
    assert servo.orders().limit == 0.2
    put(servo, registers.GOAL_PWM, 88)
    assert servo.orders().limit == pytest.approx(0.1, abs=1e-3)


def test_the_profile_is_in_the_manuals_units() -> None:
    servo = DynamixelServo(XL330, 1, mount=2047)
    put(servo, registers.SPEED, 100)
    put(servo, registers.ACCELERATION, 10)
    # 22.9 revolutions a minute; 2145.77 revolutions a minute squared.
    assert servo.orders().speed == pytest.approx(22.9 / 60 * 4096)
    assert servo.orders().acceleration == pytest.approx(2145.77 / 3600 * 4096)


def test_an_inverted_drive_counts_the_other_way() -> None:
    servo = DynamixelServo(XL330, 1, mount=1000)
    put(servo, registers.DRIVE_MODE, registers.INVERTED)
    servo.place(24.0)
    assert get(servo, registers.POSITION) == 4096 - 1024
    put(servo, registers.GOAL, 4096 - 1100)
    assert servo.orders().goal == 100
    put(servo, registers.OFFSET, 10)
    assert get(servo, registers.POSITION) == 4096 - 1024 + 10


def test_a_goal_can_switch_the_torque_on() -> None:
    servo = DynamixelServo(XL330, 1, mount=2047)
    put(servo, registers.GOAL, 2000)
    assert not servo.orders().torque
    put(servo, registers.DRIVE_MODE, registers.TORQUE_BY_GOAL)
    put(servo, registers.GOAL, 2000)
    assert servo.orders().torque


def test_modes_that_go_to_no_place_leave_it_limp() -> None:
    servo = DynamixelServo(XL330, 1, mount=2047)
    put(servo, registers.OPERATING_MODE, registers.PWM_MODE)
    put(servo, registers.TORQUE, 1)
    assert servo.step(TICK, 0.0, 0.0, 0.0).target is None


@pytest.mark.parametrize(
    ("error", "harm"),
    [
        (servo_module.ERROR_HEAT, {"temperature": 71.0}),
        (servo_module.ERROR_VOLTAGE, {"voltage": 3.0}),
        (servo_module.ERROR_OVERLOAD, {"overloaded": True}),
    ],
)
def test_an_error_lets_it_go_and_only_a_reboot_helps(error: int, harm: dict[str, float]) -> None:
    bus = make_bus(XL330)
    (servo,) = bus.servos
    put(servo, registers.TORQUE, 1)
    assert servo.step(TICK, 0.0, 0.0, 0.0).target is not None
    for name, value in harm.items():
        setattr(servo, name, value)
    assert servo.step(TICK, 0.0, 0.0, 0.0).target is None
    servo.temperature, servo.voltage = 30.0, 5.0
    servo.relieve()
    put(servo, registers.TORQUE, 1)
    assert not servo.orders().torque
    assert get(servo, registers.HARDWARE_ERROR) == error
    assert bus.feed(request(1, protocol2.PING))[8] == 128
    bus.feed(request(1, protocol2.REBOOT))
    put(servo, registers.TORQUE, 1)
    assert servo.orders().torque
    assert bus.feed(request(1, protocol2.PING))[8] == 0


def test_pulling_as_hard_as_it_may_for_two_seconds_is_an_overload() -> None:
    servo = DynamixelServo(XL430, 1, mount=2047)
    put(servo, registers.GOAL_PWM, 442)
    put(servo, registers.TORQUE, 1)
    put(servo, registers.GOAL, 2500)
    for _ in range(399):
        assert servo.step(TICK, 0.0, 0.0, 0.5).target is not None
    for _ in range(2):
        servo.step(TICK, 0.0, 0.0, 0.5)
    assert get(servo, registers.HARDWARE_ERROR) == servo_module.ERROR_OVERLOAD
    assert not servo.orders().torque


def test_who_does_not_answer() -> None:
    bus = make_bus(XL430, XL430)
    first, _ = bus.servos
    put(first, registers.STATUS_LEVEL, 1)
    write = request(1, protocol2.WRITE, bytes([registers.LED, 0, 1]))
    assert bus.feed(write) == b""
    assert get(first, registers.LED) == 1
    assert bus.feed(request(1, protocol2.READ, bytes([registers.LED, 0, 1, 0])))
    put(first, registers.STATUS_LEVEL, 0)
    assert bus.feed(request(1, protocol2.READ, bytes([registers.LED, 0, 1, 0]))) == b""
    assert bus.feed(request(1, protocol2.PING))
    bus.baud = 57_600
    assert bus.feed(request(2, protocol2.PING)) == b""
    bus.baud, first.silent = 1_000_000, True
    assert bus.feed(request(1, protocol2.PING)) == b""


def test_packets_that_make_no_sense_are_answered_by_an_error() -> None:
    bus = make_bus(XL430)
    damaged = bytearray(request(1, protocol2.PING))
    damaged[-1] ^= 1
    assert bus.feed(bytes(damaged))[8] == registers.CRC
    assert bus.feed(request(1, 0x77))[8] == registers.INSTRUCTION
    assert bus.feed(request(1, protocol2.READ, bytes([140, 0, 20, 0])))[8] == registers.ACCESS
    assert bus.feed(request(1, protocol2.READ, bytes([140])))[8] == registers.LENGTH


def test_a_factory_reset_of_everybody_does_not_give_all_the_same_number() -> None:
    bus = make_bus()
    bus.feed(request(protocol2.BROADCAST, protocol2.RESET, b"\xff"))
    assert [servo.identity for servo in bus.servos] == [1, 2]


def test_the_mounting_of_a_koch_keeps_every_joint_within_a_turn_and_calibration_centres_it() -> None:
    koch = KINDS["koch"]
    assert koch.mounts(0) == koch.mounts(0) != koch.mounts(1)
    for seed in range(20):
        for index, (mount, entry) in enumerate(
            zip(koch.mounts(seed), koch.calibration(seed).values(), strict=True)
        ):
            servo = koch.servo(index, mount, koch.calibrated(index, entry))
            assert isinstance(servo, DynamixelServo)
            assert get(servo, registers.POSITION) == 2047
            for end in (entry["range_min"], entry["range_max"]):
                if end not in (0, 4095):
                    assert 0 <= mount + end - 2047 < 4096
