"""Dynamixel's protocol 2.0 on the wire, as ROBOTIS' e-Manual has it (docs/en/dxl/protocol2).

A packet is `FF FF FD 00 id length(2) instruction parameters crc(2)`, numbers little-endian; `FF FF FD` within
instruction and parameters is followed by another `FD`, so that no header is found in them.
"""

from __future__ import annotations

from progress_envs.hardware.bus import ServoBus
from progress_envs.hardware.dynamixel import DynamixelServo
from progress_envs.hardware.dynamixel_registers import (
    ACCESS,
    BAUD_RATE,
    BAUD_RATES,
    CRC,
    FIRMWARE_VERSION,
    INSTRUCTION,
    LENGTH,
    STATUS_LEVEL,
)

BROADCAST = 0xFE
PING, READ, WRITE, REG_WRITE, ACTION, RESET, REBOOT = 1, 2, 3, 4, 5, 6, 8
STATUS, SYNC_READ, SYNC_WRITE = 0x55, 0x82, 0x83

_HEADER = b"\xff\xff\xfd\x00"
_FRAME = 7
"""Bytes up to the length, which counts those after it."""
_LONGEST = 1024

_ASKING = {PING: 0, READ: 1}
"""Status_Return_Level from which these are answered; all others from 2."""


class DynamixelBus(ServoBus[DynamixelServo]):
    """Servos of the X series on one wire."""

    def packets(self, data: bytes) -> list[bytes]:
        heard, found = self._heard + data, []
        while (start := heard.find(_HEADER)) >= 0 and len(heard) >= start + _FRAME:
            end = start + _FRAME + int.from_bytes(heard[start + 5 : start + 7], "little")
            # No packet holds a header in front of its crc: where there is one, it has lost its end.
            after = heard.find(_HEADER, start + 1)
            if end - start > _LONGEST or start < after <= end - _FRAME + 1:
                heard = heard[after if after > 0 else start + 1 :]
                continue
            if len(heard) < end:
                heard = heard[start:]
                break
            if end >= start + _FRAME + 3:
                found.append(heard[start:end])
            heard = heard[end:]
        self._heard = heard[-_LONGEST:]
        return found

    def answer(self, packet: bytes) -> list[bytes]:
        identity, instruction, parameters = packet[4], packet[7], unstuffed(packet[7:-2])[1:]
        present = self.present()
        if crc(packet[:-2]) != int.from_bytes(packet[-2:], "little"):
            return [status(present[identity], CRC)] if identity in present else []
        if instruction == SYNC_READ:
            return self._sync_read(present, parameters)
        if instruction == SYNC_WRITE:
            _sync_write(present, parameters)
            return []
        if identity == BROADCAST:
            replies = [_obey(present[who], instruction, parameters, True) for who in sorted(present)]
            return replies if instruction == PING else []
        if identity not in present:
            return []
        servo = present[identity]
        # What is written may change how much is answered.
        answered = servo.memory[STATUS_LEVEL] >= _ASKING.get(instruction, 2)
        reply = _obey(servo, instruction, parameters, False)
        return [reply] if answered else []

    def rate(self, servo: DynamixelServo) -> int | None:
        chosen = servo.memory[BAUD_RATE]
        return BAUD_RATES[chosen] if chosen < len(BAUD_RATES) else None

    @staticmethod
    def _sync_read(present: dict[int, DynamixelServo], parameters: bytes) -> list[bytes]:
        if len(parameters) < 4:
            return []
        asked = [present[who] for who in parameters[4:] if who in present]
        return [_obey(servo, READ, parameters[:4], False) for servo in asked if servo.memory[STATUS_LEVEL]]


def _sync_write(present: dict[int, DynamixelServo], parameters: bytes) -> None:
    if len(parameters) < 4:
        return
    address, count = _words(parameters)
    for start in range(4, len(parameters), count + 1):
        who, values = parameters[start], parameters[start + 1 : start + 1 + count]
        if who in present and len(values) == count:
            present[who].write(address, values)


def _obey(servo: DynamixelServo, instruction: int, parameters: bytes, everybody: bool) -> bytes:
    """Do what is asked of one servo; its status packet."""
    was = servo.identity
    if instruction == PING:
        return status(servo, 0, bytes([*servo.memory[:2], servo.memory[FIRMWARE_VERSION]]))
    if instruction == READ:
        if len(parameters) != 4:
            return status(servo, LENGTH)
        found = servo.read(*_words(parameters))
        return status(servo, ACCESS) if found is None else status(servo, 0, found)
    if instruction in (WRITE, REG_WRITE):
        if len(parameters) < 3:
            return status(servo, LENGTH)
        address = int.from_bytes(parameters[:2], "little")
        do = servo.write if instruction == WRITE else servo.postpone
        error = do(address, parameters[2:])
    elif instruction == ACTION:
        error = servo.act()
    elif instruction == RESET and len(parameters) == 1:
        # Told to all at once, it would leave them all with the same number.
        error = 0 if everybody and parameters[0] == 255 else servo.reset(parameters[0])
    elif instruction == REBOOT:
        error = 0
        servo.power_up()
    else:
        error = INSTRUCTION
    return status(servo, error, identity=was)


def status(servo: DynamixelServo, error: int, values: bytes = b"", identity: int | None = None) -> bytes:
    """A status packet."""
    number = servo.identity if identity is None else identity
    return framed(number, bytes([STATUS, servo.error | error]) + values)


def request(identity: int, instruction: int, parameters: bytes = b"") -> bytes:
    """An instruction packet, as a driver sends it."""
    return framed(identity, bytes([instruction]) + parameters)


def framed(identity: int, body: bytes) -> bytes:
    """Instruction and parameters as a packet."""
    body = body.replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
    packet = _HEADER + bytes([identity]) + (len(body) + 2).to_bytes(2, "little") + body
    return packet + crc(packet).to_bytes(2, "little")


def unstuffed(body: bytes) -> bytes:
    """The reverse of what `framed` does to instruction and parameters."""
    return body.replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")


def crc(data: bytes) -> int:
    """CRC-16 with the polynomial x^16 + x^15 + x^2 + 1, most significant bit first, from 0 on."""
    register = 0
    for byte in data:
        register = (register << 8 & 0xFFFF) ^ _CRC[(register >> 8) ^ byte]
    return register


def _of_byte(byte: int) -> int:
    register = byte << 8
    for _ in range(8):
        register = register << 1 ^ (0x8005 if register & 0x8000 else 0)
    return register & 0xFFFF


_CRC = [_of_byte(byte) for byte in range(256)]


def _words(parameters: bytes) -> tuple[int, int]:
    return int.from_bytes(parameters[:2], "little"), int.from_bytes(parameters[2:4], "little")
