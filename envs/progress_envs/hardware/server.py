"""The simulated robot as a process: physics in real time, the bus on its terminal, cameras, and a control socket.

Control is one JSON object a line, on a Unix socket and on standard input: `{"do": "reset", "seed": 3}`. On standard
input words do as well: `reset 3`.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from progress_datasets.errors import UserError
from progress_envs import arm
from progress_envs.hardware import mounting
from progress_envs.hardware.cameras import Cameras
from progress_envs.hardware.faults import Faults
from progress_envs.hardware.feetech import FeetechBus, FeetechServo
from progress_envs.hardware.servo import SUPPLY
from progress_envs.hardware.simulation import Simulation
from progress_envs.hardware.terminal import Terminal
from progress_envs.render import choose_backend
from progress_envs.scene import TIMESTEP, VIEWS

PORT, CONTROL, EEPROM = "port", "control", "eeprom.json"
"""Names in the robot's folder: the serial port, the control socket, what the servos remember."""

_PATIENCE = 0.25
"""Seconds that the simulation may be behind the clock before it gives them up."""

_TRACE = round(60 / TIMESTEP)


@dataclass
class Options:
    """What the robot is; paths are text, so that it can be handed on as JSON."""

    folder: str
    task: str = "PickPlace"
    seed: int = 0
    split: str | None = None
    vary: list[str] | None = None
    views: list[str] = field(default_factory=lambda: list(VIEWS))
    image_size: int = 96
    camera_fps: int = 30
    render: str = "auto"
    arm: int = 0
    calibrated: bool = True
    wire_time: bool = False
    faults: dict[str, Any] = field(default_factory=dict)


class Server:
    """The running robot; `run` returns when it is told to quit.

    Args:
        attached: quit when standard input ends.
    """

    def __init__(self, options: Options, attached: bool = False) -> None:
        self.options = options
        self.folder = Path(options.folder).absolute()
        self._attached = attached
        self._input: int | None = sys.stdin.fileno() if attached or sys.stdin.isatty() else None
        self._typed = b""
        self.servos = self._servos()
        self.simulation = Simulation(options.task, self.servos, options.split, options.vary)
        self._saved = [servo.saved for servo in self.servos]
        self._listener = _listen(self.folder / CONTROL)
        self._clients: dict[socket.socket, bytes] = {}
        self.terminal = Terminal(FeetechBus(self.servos), self.folder / PORT, options.wire_time)
        self.cameras = Cameras(
            self.simulation.world,
            options.views,
            options.image_size,
            options.image_size,
            choose_backend(options.render),
            self.folder,
            self.simulation.changing,
        )
        self.episodes = 0
        self.behind = 0.0
        self._trace: deque[list[float]] = deque(maxlen=_TRACE)
        self._quit = False
        self.reset(options.seed)
        self.inject(Faults.from_dict(options.faults))
        self.cameras.look()
        self.cameras.finish()

    def run(self) -> None:
        """Serve in real time until told to quit."""
        due = shown = time.monotonic()
        period = 1 / self.options.camera_fps
        try:
            while not self._quit:
                self._wait(due)
                now = time.monotonic()
                self.terminal.serve(now)
                if now - due > _PATIENCE:
                    self.behind += now - due
                    due = now
                while due <= now:
                    self._tick(due)
                    due += TIMESTEP
                if now >= shown and self.cameras.look():
                    shown = max(shown + period, now)
                if self.cameras.failed is not None:
                    raise self.cameras.failed
        finally:
            self.close()

    def close(self) -> None:
        """Give everything back."""
        self._save()
        self.cameras.close()
        self.terminal.unplug()
        for client in self._clients:
            client.close()
        self._listener.close()
        (self.folder / CONTROL).unlink(missing_ok=True)
        self.simulation.close()

    # -- what can be asked for ------------------------------------------------------------------------------------

    def handle(self, request: Mapping[str, Any]) -> Any:
        """Do what is asked; the answer, fit for JSON.

        Raises:
            UserError: nobody knows what that is.
        """
        what, rest = str(request.get("do")), {key: value for key, value in request.items() if key != "do"}
        known = {
            "reset": self.reset,
            "truth": self.truth,
            "trace": self.trace,
            "inject": lambda **faults: self.inject(Faults.from_dict(faults)),
            "expert": self.expert,
            "middle": self.simulation.hold_in_the_middle,
            "ranges": self.simulation.lead_through_ranges,
            "power": self.power_cycle,
            "quit": self.quit,
        }
        if what not in known:
            raise UserError(f"the robot does not know '{what}'; it knows {', '.join(known)}")
        try:
            return known[what](**rest)  # type: ignore[operator]
        except TypeError as error:
            raise UserError(f"{what}: {error}") from error

    def reset(self, seed: int | None = None) -> None:
        """Lay out another episode; without a seed, the next one of the last seed."""
        self.simulation.begin(seed)
        self.episodes += 1

    def inject(self, faults: Faults) -> None:
        """From now on these things are wrong, and no others."""
        self.faults = faults
        self.terminal.trouble(faults)
        if faults.unplugged:
            self.terminal.unplug()
        else:
            self.terminal.plug()
        self.cameras.faults = faults.cameras
        self.simulation.jam(faults.jammed)
        for name, servo in zip(arm.JOINTS, self.servos, strict=True):
            servo.silent = name in faults.silent
            servo.heated = faults.temperatures.get(name)
            servo.voltage = SUPPLY if faults.voltage is None else faults.voltage

    def power_cycle(self) -> None:
        """Take the power from the servos and give it back: they are limp, and know only what their EEPROM holds."""
        for servo in self.servos:
            servo.power_up()

    def expert(self, quality: str = "expert", seed: int = 0) -> list[float]:
        """Joint targets [6] of a scripted expert that works on this episode."""
        return [float(value) for value in self.simulation.expert_action(quality, seed)]

    def quit(self) -> None:
        """End."""
        self._quit = True

    def truth(self) -> dict[str, Any]:
        """What the simulator knows: see `progress_envs.hardware.simulated.Truth`."""
        simulation, status = self.simulation, self.simulation.status
        return {
            "time": time.monotonic(),
            "seconds": simulation.seconds,
            "episode": self.episodes,
            "instruction": simulation.task_description,
            "progress": status.progress,
            "stage": simulation.task.stages[status.stage],
            "success": status.success,
            "succeeded": simulation.succeeded,
            "joints": simulation.world.joints().tolist(),
            "targets": simulation.target.tolist(),
            "torque": [servo.orders().torque for servo in self.servos],
            "loads": [servo.load for servo in self.servos],
            "temperatures": [servo.temperature for servo in self.servos],
            "overloaded": [servo.overloaded for servo in self.servos],
            "dropped": self.terminal.dropped,
            "corrupted": self.terminal.corrupted,
            "late": self.terminal.late,
            "lost": self.terminal.lost,
            "behind": self.behind,
        }

    def trace(self, since: float = 0.0) -> list[list[float]]:
        """Every tick after `since`: time, joints [6], torque [6]; see `SimulatedRobot.trace`."""
        return [row for row in self._trace if row[0] > since]

    # -- the loop -------------------------------------------------------------------------------------------------

    def _tick(self, due: float) -> None:
        self.simulation.tick()
        torque = [float(servo.orders().torque) for servo in self.servos]
        self._trace.append([due, *self.simulation.world.joints().tolist(), *torque])
        if [servo.saved for servo in self.servos] != self._saved:
            self._save()

    def _wait(self, due: float) -> None:
        """Sleep until the next tick, or until somebody wants something; answer what is on the control socket."""
        terminal = self.terminal.descriptor
        sources: list[Any] = [self._listener, *self._clients]
        sources += [] if terminal is None else [terminal]
        sources += [] if self._input is None else [self._input]
        until = due if self.terminal.due is None else min(due, self.terminal.due)
        ready, _, _ = select.select(sources, [], [], max(until - time.monotonic(), 0.0))
        for source in ready:
            if source is self._listener:
                client, _ = self._listener.accept()
                self._clients[client] = b""
            elif source == self._input:
                self._listen_to_input()
            elif source is not terminal:
                self._converse(source)

    def _converse(self, client: socket.socket) -> None:
        try:
            heard = client.recv(65536)
        except ConnectionError:
            heard = b""
        if not heard:
            client.close()
            del self._clients[client]
            return
        *lines, self._clients[client] = (self._clients[client] + heard).split(b"\n")
        for line in lines:
            # The end of the conversation is read in the next round.
            with suppress(ConnectionError):
                client.sendall(json.dumps(self._answer(line)).encode() + b"\n")

    def _answer(self, line: bytes | str) -> dict[str, Any]:
        try:
            request = json.loads(line)
            return {"answer": self.handle(request if isinstance(request, dict) else {})}
        except (UserError, ValueError) as error:
            return {"error": str(error)}

    def _listen_to_input(self) -> None:
        """Do what was typed."""
        assert self._input is not None
        heard = os.read(self._input, 4096)
        if not heard:
            self._input = None
            self._quit = self._attached
            return
        *lines, self._typed = (self._typed + heard).split(b"\n")
        for line in filter(None, map(bytes.strip, lines)):
            answer = self._answer(words_to_request(line.decode(errors="replace")))
            print(answer.get("error") or answer.get("answer") or "done", flush=True)

    def _servos(self) -> list[FeetechServo]:
        """New servos, or those that this folder remembers."""
        path, seed = self.folder / EEPROM, self.options.arm
        made = mounting.calibration(seed)
        remembered = json.loads(path.read_text()) if path.exists() else {}
        servos = []
        for index, (name, mount) in enumerate(zip(arm.JOINTS, mounting.mounts(seed), strict=True)):
            fresh = mounting.calibrated(index + 1, made[name]) if self.options.calibrated else None
            known = bytes.fromhex(remembered[name]) if name in remembered else fresh
            servos.append(FeetechServo(index + 1, mount, known))
        return servos

    def _save(self) -> None:
        """Write down what the servos will know after a power cut."""
        self._saved = [servo.saved for servo in self.servos]
        memory = {name: servo.eeprom.hex() for name, servo in zip(arm.JOINTS, self.servos, strict=True)}
        fresh = self.folder / f".{EEPROM}.new"
        fresh.write_text(json.dumps(memory, indent=1) + "\n")
        fresh.replace(self.folder / EEPROM)


def words_to_request(line: str) -> str:
    """`reset 3` as JSON; what is JSON already stays."""
    if line.startswith("{"):
        return line
    what, *rest = line.split()
    shorthand: dict[str, dict[str, Any]] = {
        "unplug": {"do": "inject", "unplugged": True},
        "plug": {"do": "inject"},
        "reset": {"do": "reset", **({"seed": int(rest[0])} if rest and rest[0].isdigit() else {})},
    }
    return json.dumps(shorthand.get(what, {"do": what}))


def _listen(path: Path) -> socket.socket:
    """The control socket.

    Raises:
        UserError: a robot runs in this folder already, or its name is too long for a socket.
    """
    if len(str(path)) > 100:
        raise UserError(f"{path.parent}: too long a name for a socket; give a folder with a shorter path")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if path.exists():
        try:
            listener.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            listener.close()
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            raise UserError(
                f"{path.parent}: a simulated robot runs there already; end it or give another folder"
            )
    listener.bind(str(path))
    listener.listen()
    return listener


def main() -> None:
    """`python -m progress_envs.hardware.server '{"folder": …}'`: run until standard input ends; says `ready`."""
    options = Options(**json.loads(sys.argv[1]))
    try:
        server = Server(options, attached=True)
    except UserError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(2)
    print(json.dumps({"ready": True}), flush=True)
    server.run()


if __name__ == "__main__":
    main()
