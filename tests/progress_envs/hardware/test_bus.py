"""What both families of servos do with a stream of bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_envs.hardware import feetech, protocol2
from progress_envs.hardware.bus import ServoBus
from progress_envs.hardware.dynamixel import DynamixelServo
from progress_envs.hardware.dynamixel_registers import XL330, XL430
from progress_envs.hardware.feetech import FeetechBus, FeetechServo
from progress_envs.hardware.protocol2 import DynamixelBus


def feetech_bus() -> FeetechBus:
    return FeetechBus([FeetechServo(number, mount=2047) for number in range(1, 7)])


def dynamixel_bus() -> DynamixelBus:
    return DynamixelBus([DynamixelServo(model, n, mount=2047) for n, model in enumerate((XL430, XL330), 1)])


FAMILIES = {
    "feetech": (feetech_bus, lambda who: feetech.request(who, feetech.PING), slice(2, None, 6)),
    "dynamixel": (dynamixel_bus, lambda who: protocol2.request(who, protocol2.PING), slice(4, None, 14)),
}
"""How each makes a bus and a ping, and where in replies to pings the servos' numbers are."""


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
def test_packets_are_found_however_they_are_cut_and_whatever_lies_between(
    family: str, data: st.DataObject
) -> None:
    """Noise without 0xFF between packets, and any cuts, change no reply."""
    make, ping, numbers = FAMILIES[family]
    bus: ServoBus = make()
    asked = data.draw(st.lists(st.tuples(st.integers(1, len(bus.servos)), st.binary(max_size=4)), max_size=6))
    rest = b"".join(bytes(byte for byte in noise if byte != 0xFF) + ping(who) for who, noise in asked)
    replies = b""
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        replies, rest = replies + bus.feed(rest[:cut]), rest[cut:]
    assert list(replies[numbers]) == [who for who, _ in asked]
