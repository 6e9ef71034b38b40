"""The cable: what passes through it, and what does not."""

from __future__ import annotations

import os
import select
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from progress_envs.hardware import feetech
from progress_envs.hardware.faults import Faults
from progress_envs.hardware.feetech import FeetechBus, FeetechServo, request
from progress_envs.hardware.terminal import Terminal

PING = request(1, feetech.PING)
REPLY = bytes.fromhex("ff ff 01 02 00 fc")

Open = Callable[[], int]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(FeetechBus([FeetechServo(1, mount=2047)]), tmp_path / "port")
    yield terminal
    terminal.unplug()


@pytest.fixture
def open_port(tmp_path: Path) -> Iterator[Open]:
    """Open the port as a driver does, without waiting for bytes."""
    opened: list[int] = []

    def open_it() -> int:
        port = os.open(tmp_path / "port", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(port)
        attributes = tty.tcgetattr(port)
        attributes[4] = attributes[5] = tty.B1000000
        tty.tcsetattr(port, tty.TCSANOW, attributes)
        opened.append(port)
        return port

    yield open_it
    for port in opened:
        os.close(port)


def received(port: int, patience: float = 0.05) -> bytes:
    """All that comes, until nothing has come for a while: a terminal takes its time to pass bytes on."""
    found = b""
    while select.select([port], [], [], patience)[0]:
        found += os.read(port, 65536)
    return found


def ask(terminal: Terminal, port: int, packet: bytes, now: float = 0.0) -> None:
    """Say something, and have the terminal hear it."""
    os.write(port, packet)
    assert terminal.descriptor is not None
    assert select.select([terminal.descriptor], [], [], 5)[0]
    terminal.serve(now)


def test_a_driver_that_comes_again_finds_the_port_as_it_was(terminal: Terminal, open_port: Open) -> None:
    for _ in range(3):
        port = open_port()
        ask(terminal, port, PING)
        assert received(port) == REPLY


def test_what_the_driver_says_does_not_come_back_to_it(terminal: Terminal, open_port: Open) -> None:
    port = open_port()
    ask(terminal, port, b"no packet\r\n")
    assert received(port) == b""


def test_replies_that_nobody_reads_are_dropped_and_nothing_waits(terminal: Terminal, open_port: Open) -> None:
    port = open_port()
    everything = request(1, feetech.READ, 0, 80)
    for _ in range(3000):
        ask(terminal, port, everything)
    assert terminal.lost > 0
    assert 0 < len(received(port)) < 3000 * 86
    ask(terminal, port, PING)
    assert received(port) == REPLY


def play(terminal: Terminal, port: int, faults: Faults, count: int = 200) -> bytes:
    """The answers to so many pings."""
    terminal.trouble(faults)
    for _ in range(count):
        ask(terminal, port, PING)
    return received(port)


def test_faults_are_as_frequent_as_asked_and_the_same_by_the_same_seed(
    terminal: Terminal, open_port: Open
) -> None:
    port = open_port()
    bad = Faults(drop=0.1, corrupt=0.1, seed=3)
    first = play(terminal, port, bad)
    # Of 200 requests and 180 replies; a request that was changed is not answered.
    assert 20 <= terminal.dropped <= 55
    assert 20 <= terminal.corrupted <= 55
    assert 120 * 6 <= len(first) <= 170 * 6
    assert first.count(REPLY) < len(first) / 6
    assert play(terminal, port, Faults()) == REPLY * 200
    assert play(terminal, port, bad) == first
    assert play(terminal, port, Faults(drop=0.1, corrupt=0.1, seed=4)) != first


def test_a_late_reply_comes_when_it_is_due_and_may_be_overtaken(terminal: Terminal, open_port: Open) -> None:
    port = open_port()
    terminal.trouble(Faults(late=1.0, late_ms=40))
    ask(terminal, port, PING, 1.0)
    assert received(port) == b""
    assert terminal.due == pytest.approx(1.04)
    terminal.trouble(Faults())
    ask(terminal, port, request(1, feetech.READ, feetech.ID, 1), 1.039)
    assert received(port) != REPLY
    terminal.serve(1.04)
    assert REPLY in received(port)
    assert terminal.due is None


def test_on_the_wire_a_reply_takes_its_time(tmp_path: Path, open_port: Open) -> None:
    servos = [FeetechServo(number, mount=2047) for number in range(1, 7)]
    terminal = Terminal(FeetechBus(servos), tmp_path / "port", wire_time=True)
    port = open_port()
    asked = request(feetech.BROADCAST, feetech.SYNC_READ, feetech.POSITION, 2, 1, 2, 3, 4, 5, 6)
    ask(terminal, port, asked)
    assert received(port) == b""
    # Ten bits a byte at a million a second: the request, and six replies of eight bytes.
    end = (len(asked) + 6 * 8) * 1e-5
    terminal.serve(end - 1e-6)
    assert len(received(port)) == 5 * 8
    terminal.serve(end + 1e-6)
    assert len(received(port)) == 8
    terminal.unplug()


def test_a_pulled_cable_hangs_up_and_another_comes_under_the_same_name(
    terminal: Terminal, open_port: Open, tmp_path: Path
) -> None:
    port = open_port()
    terminal.unplug()
    assert not (tmp_path / "port").is_symlink()
    assert terminal.descriptor is None
    terminal.serve(0.0)
    with pytest.raises(OSError, match="Input/output error"):
        os.write(port, PING)
    terminal.plug()
    port = open_port()
    ask(terminal, port, PING)
    assert received(port) == REPLY


def test_a_driver_at_another_rate_is_not_heard(terminal: Terminal, open_port: Open) -> None:
    port = open_port()
    attributes = tty.tcgetattr(port)
    attributes[4] = attributes[5] = tty.B115200
    tty.tcsetattr(port, tty.TCSANOW, attributes)
    ask(terminal, port, PING)
    assert received(port) == b""
