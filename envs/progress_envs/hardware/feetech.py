"""Feetech's STS3215 on the wire: packets `FF FF id length instruction parameters checksum`, numbers little-endian.

The register table is that of the STS series' manual. Signs are kept in a bit of their own: bit 15 of positions and
speeds, bit 11 of the homing offset, bit 10 of the load. Present_Position = encoder − Homing_Offset.
"""

from __future__ import annotations

from collections.abc import Mapping

from progress_envs.hardware.bus import ServoBus
from progress_envs.hardware.servo import TURN, Orders, Servo, nearest

MODEL = 777
BAUD_RATES = (1_000_000, 500_000, 250_000, 128_000, 115_200, 57_600, 38_400, 19_200)
BROADCAST = 0xFE

PING, READ, WRITE, REG_WRITE, ACTION, RESET, SYNC_READ, SYNC_WRITE = 1, 2, 3, 4, 5, 6, 0x82, 0x83

# Registers that survive a power cut
FIRMWARE, MODEL_NUMBER, ID, BAUD_RATE, RETURN_DELAY, STATUS_LEVEL = 0, 3, 5, 6, 7, 8
MIN_LIMIT, MAX_LIMIT, MAX_TEMPERATURE, MAX_VOLTAGE, MIN_VOLTAGE, MAX_TORQUE = 9, 11, 13, 14, 15, 16
PHASE, UNLOADING, ALARM, GAIN_P, GAIN_D, GAIN_I, MIN_FORCE, PROTECTION_CURRENT = (
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    28,
)
RESOLUTION, OFFSET, MODE, PROTECTIVE, PROTECTION_TIME, OVERLOAD = 30, 31, 33, 34, 35, 36
EEPROM = 40
# and those that do not
TORQUE, ACCELERATION, GOAL, GOAL_TIME, SPEED, LIMIT, LOCK = 40, 41, 42, 44, 46, 48, 55
POSITION, VELOCITY, LOAD, VOLTAGE, TEMPERATURE, STATUS, MOVING, CURRENT = 56, 58, 60, 62, 63, 65, 66, 69
SIZE = 87

READ_ONLY = frozenset([*range(5), *range(POSITION, 71)])
MIDDLE = 128
"""Written to Torque_Enable: let the present position be 2048."""

STEADY = 254
"""The highest acceleration that can be set; like 0 it means as fast as the motor can."""

MILLIAMPERES = 2700.0
"""Current at full load."""


def factory(identity: int) -> bytearray:
    """The 40 bytes of a new servo's EEPROM."""
    memory = bytearray(EEPROM)
    memory[FIRMWARE : FIRMWARE + 2] = bytes([3, 10])
    memory[MODEL_NUMBER : MODEL_NUMBER + 2] = MODEL.to_bytes(2, "little")
    memory[ID] = identity
    memory[RETURN_DELAY], memory[STATUS_LEVEL] = 250, 1
    memory[MAX_LIMIT : MAX_LIMIT + 2] = (TURN - 1).to_bytes(2, "little")
    memory[MAX_TEMPERATURE], memory[MAX_VOLTAGE], memory[MIN_VOLTAGE] = 70, 140, 40
    memory[MAX_TORQUE : MAX_TORQUE + 2] = (1000).to_bytes(2, "little")
    memory[PHASE], memory[UNLOADING], memory[ALARM] = 12, 44, 47
    memory[GAIN_P], memory[GAIN_D], memory[GAIN_I], memory[MIN_FORCE] = 32, 32, 0, 16
    memory[PROTECTION_CURRENT : PROTECTION_CURRENT + 2] = (500).to_bytes(2, "little")
    memory[RESOLUTION] = 1
    memory[PROTECTIVE], memory[PROTECTION_TIME], memory[OVERLOAD] = 20, 200, 80
    return memory


def calibrated(identity: int, entry: Mapping[str, int]) -> bytes:
    """A servo's EEPROM after LeRobot's calibration has found `entry`."""
    memory = factory(identity)
    values = {
        OFFSET: unsigned(entry["homing_offset"], 11),
        MIN_LIMIT: entry["range_min"],
        MAX_LIMIT: entry["range_max"],
    }
    for address, value in values.items():
        memory[address : address + 2] = value.to_bytes(2, "little")
    return bytes(memory)


class FeetechServo(Servo):
    """An STS3215 by its registers; its EEPROM changes only while Lock is 0."""

    def __init__(self, identity: int, mount: int, eeprom: bytes | None = None) -> None:
        super().__init__(mount, eeprom or bytes(factory(identity)))
        self.memory = bytearray(SIZE)
        self._waiting: tuple[int, bytes] | None = None
        self.power_up()

    def power_up(self) -> None:
        """Forget everything that is not in the EEPROM."""
        self.memory[:] = self.eeprom + bytes(SIZE - EEPROM)
        self.memory[LIMIT : LIMIT + 2] = self.memory[MAX_TORQUE : MAX_TORQUE + 2]
        self.memory[LOCK] = 1
        self.relieve()
        self.aim(self.position)

    @property
    def identity(self) -> int:
        """The number it answers to."""
        return self.memory[ID]

    @property
    def error(self) -> int:
        """The error byte of its status packets."""
        low, high = self.memory[MIN_VOLTAGE] / 10, self.memory[MAX_VOLTAGE] / 10
        return self.complaints(low, high, self.memory[MAX_TEMPERATURE])

    def orders(self) -> Orders:
        memory = self.memory
        acceleration = memory[ACCELERATION]
        speed = abs(signed(self._word(SPEED), 15))
        return Orders(
            torque=memory[TORQUE] == 1,
            goal=self._along(self._bounded(signed(self._word(GOAL), 15))),
            speed=speed or float("inf"),
            acceleration=100.0 * acceleration if 0 < acceleration < STEADY else 1e9,
            limit=min(self._word(LIMIT), self._word(MAX_TORQUE), 1000) / 1000,
            overload=memory[OVERLOAD] / 100,
            patience=memory[PROTECTION_TIME] / 100,
            protective=memory[PROTECTIVE] / 100,
            hot=float(memory[MAX_TEMPERATURE]),
            low=memory[MIN_VOLTAGE] / 10,
            high=memory[MAX_VOLTAGE] / 10,
            stiffness=memory[GAIN_P] / 16,
            damping=memory[GAIN_D] / 32,
        )

    def let_go(self) -> None:
        self.memory[TORQUE] = 0

    def aim(self, position: float) -> None:
        self._set(GOAL, self._shown(position))

    def read(self, address: int, count: int) -> bytes:
        """`count` registers from `address` on."""
        self._refresh()
        return bytes(self.memory[address : address + count]).ljust(count, b"\0")

    def write(self, address: int, values: bytes) -> None:
        """Set the registers from `address` on; those that can only be read stay."""
        torque = self.memory[TORQUE]
        for register, value in enumerate(values, address):
            if register < SIZE and register not in READ_ONLY:
                self.memory[register] = value
                if register < EEPROM and not self.memory[LOCK]:
                    self.eeprom[register] = value
                    self.saved += 1
        written = range(address, address + len(values))
        if MAX_TORQUE in written:
            self.memory[LIMIT : LIMIT + 2] = self.memory[MAX_TORQUE : MAX_TORQUE + 2]
        if TORQUE in written:
            self.relieve()
            if self.memory[TORQUE] == MIDDLE:
                self.memory[TORQUE] = torque
                centred = round(nearest(self.mount + self.position - TURN / 2))
                self._store(OFFSET, unsigned(centred, 11))

    def postpone(self, address: int, values: bytes) -> None:
        """Keep a write for `act`."""
        self._waiting = address, values

    def act(self) -> None:
        """Do the write that was postponed."""
        if self._waiting is not None:
            self.write(*self._waiting)
            self._waiting = None

    def reset(self) -> None:
        """As new, but for its number."""
        self.eeprom[:] = factory(self.identity)
        self.saved += 1
        self.power_up()

    @property
    def _offset(self) -> int:
        return signed(self._word(OFFSET), 11)

    def _shown(self, position: float) -> int:
        """A place along the joint as Present_Position shows it."""
        return round(self.mount + position - self._offset) % TURN

    def _along(self, shown: float) -> float:
        """Where the joint is when Present_Position shows that, if it goes there as the servo does: not across the seam
        between 4095 and 0."""
        return self.position + shown - (self.mount + self.position - self._offset) % TURN

    def _bounded(self, goal: int) -> int:
        """A goal within the limits that the EEPROM sets, if it sets any."""
        low, high = self._word(MIN_LIMIT), self._word(MAX_LIMIT)
        return min(max(goal, low), high) if low < high else goal

    def _refresh(self) -> None:
        """Bring the registers that show the present up to date."""
        self._set(POSITION, self._shown(self.position))
        self._set(VELOCITY, unsigned(round(self.velocity), 15))
        self._set(LOAD, unsigned(round(1000 * self.load), 10))
        self._set(CURRENT, round(abs(self.load) * MILLIAMPERES / 6.5))
        self.memory[VOLTAGE] = min(max(round(10 * self.voltage), 0), 255)
        self.memory[TEMPERATURE] = min(max(round(self.temperature), 0), 255)
        self.memory[STATUS] = self.error
        self.memory[MOVING] = abs(self.velocity) > 10

    def _word(self, address: int) -> int:
        return self.memory[address] | self.memory[address + 1] << 8

    def _set(self, address: int, value: int) -> None:
        self.memory[address : address + 2] = value.to_bytes(2, "little")

    def _store(self, address: int, value: int) -> None:
        self._set(address, value)
        self.eeprom[address : address + 2] = self.memory[address : address + 2]
        self.saved += 1


class FeetechBus(ServoBus[FeetechServo]):
    """STS3215 on one wire; a packet whose checksum is wrong is not answered."""

    def packets(self, data: bytes) -> list[bytes]:
        heard, found = self._heard + data, []
        while (start := heard.find(b"\xff\xff")) >= 0 and len(heard) >= start + 4:
            identity, length = heard[start + 2 : start + 4]
            if identity == 0xFF or length < 2:
                heard = heard[start + 1 :]
                continue
            end = start + 4 + length
            if len(heard) < end:
                heard = heard[start:]
                break
            found.append(heard[start:end])
            heard = heard[end:]
        # A packet has at most 4 + 255 bytes: more is noise.
        self._heard = heard[-260:]
        return found

    def answer(self, packet: bytes) -> list[bytes]:
        identity, instruction, parameters = packet[2], packet[4], packet[5:-1]
        if checksum(packet[2:-1]) != packet[-1]:
            return []
        present = self.present()
        if instruction in (SYNC_READ, SYNC_WRITE) and len(parameters) < 2:
            return []
        if instruction == SYNC_READ:
            address, count, *asked = parameters
            return [
                status(present[who], present[who].read(address, count)) for who in asked if who in present
            ]
        if instruction == SYNC_WRITE:
            address, count = parameters[:2]
            for start in range(2, len(parameters), count + 1):
                who, *values = parameters[start : start + count + 1]
                if who in present and len(values) == count:
                    present[who].write(address, bytes(values))
            return []
        if identity == BROADCAST:
            every = [present[who] for who in sorted(present)]
            replies = [_obey(servo, instruction, parameters) for servo in every]
            return [reply for reply in replies if reply] if instruction == PING else []
        if identity not in present:
            return []
        servo = present[identity]
        reply = _obey(servo, instruction, parameters)
        quiet = servo.memory[STATUS_LEVEL] == 0 and instruction not in (PING, READ)
        return [] if quiet or reply is None else [reply]

    def rate(self, servo: FeetechServo) -> int | None:
        chosen = servo.memory[BAUD_RATE]
        return BAUD_RATES[chosen] if chosen < len(BAUD_RATES) else None


def _obey(servo: FeetechServo, instruction: int, parameters: bytes) -> bytes | None:
    """Do what is asked of one servo; its status packet, or None where the instruction makes no sense."""
    if instruction == READ and len(parameters) == 2:
        return status(servo, servo.read(*parameters))
    if instruction == WRITE and parameters:
        # The reply comes from the number that was spoken to, even if that has just been changed.
        was = servo.identity
        servo.write(parameters[0], parameters[1:])
        return status(servo, b"", was)
    if instruction == REG_WRITE and parameters:
        servo.postpone(parameters[0], parameters[1:])
    elif instruction == ACTION:
        servo.act()
    elif instruction == RESET:
        servo.reset()
    elif instruction != PING:
        return None
    return status(servo, b"")


def status(servo: FeetechServo, values: bytes, identity: int | None = None) -> bytes:
    """A status packet."""
    number = servo.identity if identity is None else identity
    return _framed(bytes([number, len(values) + 2, servo.error]) + values)


def request(identity: int, instruction: int, *parameters: int) -> bytes:
    """An instruction packet, as a driver sends it."""
    return _framed(bytes([identity, len(parameters) + 2, instruction, *parameters]))


def _framed(body: bytes) -> bytes:
    return b"\xff\xff" + body + bytes([checksum(body)])


def checksum(body: bytes) -> int:
    """Of everything between the header and the checksum."""
    return ~sum(body) & 0xFF


def signed(word: int, bit: int) -> int:
    """A number whose sign is in `bit`."""
    magnitude = word & ((1 << bit) - 1)
    return -magnitude if word >> bit & 1 else magnitude


def unsigned(number: int, bit: int) -> int:
    """The reverse of `signed`; magnitudes too large for it are cut."""
    return min(abs(number), (1 << bit) - 1) | (number < 0) << bit
