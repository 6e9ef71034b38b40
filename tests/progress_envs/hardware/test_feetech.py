"""The STS3215's packets and registers, against hand-written bytes and against Feetech's own SDK."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_envs.hardware import feetech
from progress_envs.hardware.feetech import FeetechBus, FeetechServo, checksum, request, signed, unsigned


def make_bus(count: int = 6) -> FeetechBus:
    return FeetechBus([FeetechServo(number, mount=2047) for number in range(1, count + 1)])


def ask(bus: FeetechBus, identity: int, instruction: int, *parameters: int) -> bytes:
    return bus.feed(request(identity, instruction, *parameters))


def test_a_ping_and_its_reply_byte_by_byte() -> None:
    bus = make_bus()
    assert request(1, feetech.PING) == bytes.fromhex("ff ff 01 02 01 fb")
    assert bus.feed(bytes.fromhex("ff ff 01 02 01 fb")) == bytes.fromhex("ff ff 01 02 00 fc")


def test_the_model_number_is_that_of_an_sts3215() -> None:
    reply = ask(make_bus(), 3, feetech.READ, feetech.MODEL_NUMBER, 2)
    assert reply[:5] == bytes.fromhex("ff ff 03 04 00")
    assert int.from_bytes(reply[5:7], "little") == 777


def test_positions_of_all_servos_come_in_the_order_asked() -> None:
    bus = make_bus()
    for servo in bus.servos:
        servo.place(100.0 * servo.identity)
    reply = ask(bus, feetech.BROADCAST, feetech.SYNC_READ, feetech.POSITION, 2, 5, 1, 6)
    assert [(part[2], part[5] | part[6] << 8) for part in (reply[:8], reply[8:16], reply[16:])] == [
        (5, 2547),
        (1, 2147),
        (6, 2647),
    ]


def test_a_sync_write_sets_goals_and_gets_no_reply() -> None:
    bus = make_bus(2)
    assert ask(bus, feetech.BROADCAST, feetech.SYNC_WRITE, feetech.GOAL, 2, 1, 0xE8, 3, 2, 0xD0, 7) == b""
    assert [servo.orders().goal for servo in bus.servos] == [1000 - 2047, 2000 - 2047]


def test_a_goal_outside_the_limits_is_cut_to_them() -> None:
    bus = make_bus(1)
    (servo,) = bus.servos
    ask(bus, 1, feetech.WRITE, feetech.MIN_LIMIT, 0xE8, 3, 0xD0, 7)  # 1000 to 2000
    for shown, along in ((500, 1000), (3000, 2000), (1500, 1500)):
        ask(bus, 1, feetech.WRITE, feetech.GOAL, shown & 0xFF, shown >> 8)
        assert servo.orders().goal == along - 2047


def test_the_offset_is_taken_from_what_the_encoder_reads() -> None:
    servo = FeetechServo(1, mount=3000)
    servo.place(10.0)
    assert int.from_bytes(servo.read(feetech.POSITION, 2), "little") == 3010
    servo.write(feetech.OFFSET, unsigned(3000 - 2047, 11).to_bytes(2, "little"))
    assert int.from_bytes(servo.read(feetech.POSITION, 2), "little") == 2057
    servo.write(feetech.GOAL, (2047 - 100).to_bytes(2, "little"))
    assert servo.orders().goal == -100


def test_writing_128_to_torque_enable_makes_here_the_middle() -> None:
    servo = FeetechServo(1, mount=900)
    servo.place(-40.0)
    servo.write(feetech.TORQUE, bytes([feetech.MIDDLE]))
    assert int.from_bytes(servo.read(feetech.POSITION, 2), "little") == 2048
    assert not servo.orders().torque


def test_what_is_written_while_locked_is_forgotten_without_power() -> None:
    servo = FeetechServo(1, mount=0)
    for lock, left in ((1, 0), (0, 1)):
        servo.write(feetech.LOCK, bytes([lock]))
        servo.write(feetech.STATUS_LEVEL, bytes([left + 7]))
        servo.power_up()
        assert servo.memory[feetech.STATUS_LEVEL] == (8 if lock == 0 else 1)
        assert servo.memory[feetech.LOCK] == 1


def test_registers_that_show_the_present_cannot_be_written() -> None:
    servo = FeetechServo(1, mount=2000)
    servo.write(feetech.MODEL_NUMBER, b"\x01\x01")
    servo.write(feetech.TEMPERATURE, b"\x63")
    assert int.from_bytes(servo.read(feetech.MODEL_NUMBER, 2), "little") == 777
    assert servo.read(feetech.TEMPERATURE, 1) == bytes([28])


def test_a_new_number_is_answered_under_the_old_one_and_then_used() -> None:
    bus = make_bus(1)
    assert ask(bus, 1, feetech.WRITE, feetech.ID, 9)[2] == 1
    assert ask(bus, 1, feetech.PING) == b""
    assert ask(bus, 9, feetech.PING)[2] == 9


def test_everybody_answers_a_broadcast_ping_in_order() -> None:
    replies = ask(make_bus(3), feetech.BROADCAST, feetech.PING)
    assert [replies[start + 2] for start in (0, 6, 12)] == [1, 2, 3]


def test_a_postponed_write_waits_for_action() -> None:
    bus = make_bus(2)
    for identity in (1, 2):
        assert ask(bus, identity, feetech.REG_WRITE, feetech.TORQUE, 1)
    assert not any(servo.orders().torque for servo in bus.servos)
    assert ask(bus, feetech.BROADCAST, feetech.ACTION) == b""
    assert all(servo.orders().torque for servo in bus.servos)


def test_servos_at_another_rate_and_silent_ones_do_not_answer() -> None:
    bus = make_bus(2)
    bus.baud = 500_000
    assert ask(bus, 1, feetech.PING) == b""
    bus.baud = 1_000_000
    bus.servos[0].silent = True
    assert ask(bus, 1, feetech.PING) == b""
    assert ask(bus, 2, feetech.PING)


def test_errors_are_in_every_status_packet() -> None:
    bus = make_bus(1)
    (servo,) = bus.servos
    servo.voltage = 3.0
    servo.temperature = 71.0
    servo.overloaded = True
    assert ask(bus, 1, feetech.PING)[4] == 1 | 4 | 32
    assert ask(bus, 1, feetech.READ, feetech.STATUS, 1)[5] == 1 | 4 | 32


def test_a_packet_with_a_wrong_checksum_is_not_answered() -> None:
    packet = bytearray(request(1, feetech.PING))
    packet[-1] ^= 1
    assert make_bus().feed(bytes(packet)) == b""


@given(st.binary(max_size=300), st.binary(min_size=2, max_size=60))
def test_nothing_that_is_sent_breaks_the_bus(noise: bytes, body: bytes) -> None:
    """Noise, and packets with a right checksum that mean nothing or anything; a broadcast reset heals what they set."""
    bus = make_bus()
    bus.feed(noise)
    frame = bytes([body[0] % 254, len(body), *body[1:]])
    bus.feed(bytes(300) + b"\xff\xff" + frame + bytes([checksum(frame)]))
    for servo in bus.servos:
        servo.step(0.005, 0.0, 0.0, 0.0)
        servo.reset()
        assert ask(bus, servo.identity, feetech.PING) or servo.identity >= feetech.BROADCAST


@given(st.integers(-2047, 2047))
def test_signs_are_kept_in_a_bit_as_lerobot_keeps_them(number: int) -> None:
    encoding = pytest.importorskip("lerobot.motors.encoding_utils")
    assert unsigned(number, 11) == encoding.encode_sign_magnitude(number, 11)
    assert signed(unsigned(number, 11), 11) == number
