"""What goes wrong in the runs of `robot_faults.py`: the seed decides what, when and how badly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from progress_envs.hardware.faults import Faults

VIEWS = ("front", "top", "wrist")


@dataclass
class Plan:
    """What goes wrong in a run.

    Attributes:
        kind: for the table.
        detail: how badly.
        after: seconds after the first motion.
        faults: of the simulated robot.
        policy: how the scripted policy misbehaves.
        act: what else is done.
    """

    kind: str
    detail: str = ""
    after: float = 0.5
    faults: Faults | None = None
    policy: str = "swing"
    act: str = ""

    @property
    def unreachable(self) -> bool:
        """Whether nobody can let go of the motors any more; a servo that hears nothing holds."""
        faults = self.faults
        return faults is not None and (faults.unplugged or max(faults.drop, faults.corrupt) == 1.0)


def plan_for(seed: int) -> Plan:
    """What goes wrong in the run with this seed."""
    rng = np.random.default_rng(seed)
    kinds = sorted(KINDS)
    plan = KINDS[kinds[seed % len(kinds)]](rng)
    plan.kind, plan.after = kinds[seed % len(kinds)], float(rng.uniform(0.1, 0.7))
    return plan


def packets(name: str) -> Callable[[np.random.Generator], Plan]:
    def make(rng: np.random.Generator) -> Plan:
        share = float(rng.choice([0.02, 0.1, 0.3, 1.0]))
        more = {"late_ms": float(rng.choice([10, 40, 120]))} if name == "late" else {}
        detail = f"{share:.0%}" + "".join(f", {value:g} ms" for value in more.values())
        return Plan("", detail, faults=Faults(seed=int(rng.integers(1 << 30)), **{name: share}, **more))

    return make


def camera(fault: str) -> Callable[[np.random.Generator], Plan]:
    def make(rng: np.random.Generator) -> Plan:
        view = str(rng.choice(VIEWS))
        return Plan("", view, faults=Faults(cameras={view: fault}))

    return make


def misbehaviour(wrong: str) -> Callable[[np.random.Generator], Plan]:
    return lambda rng: Plan("", policy=f"swing:{wrong}:{rng.integers(1, 3)}")


def deed(act: str) -> Callable[[np.random.Generator], Plan]:
    return lambda rng: Plan("", act=act)


KINDS: dict[str, Callable[[np.random.Generator], Plan]] = {
    "packets dropped": packets("drop"),
    "packets corrupted": packets("corrupt"),
    "packets delayed": packets("late"),
    "bus unplugged": lambda rng: Plan("", faults=Faults(unplugged=True)),
    "camera frozen": camera("frozen"),
    "camera stalled": camera("stalled"),
    "camera black": camera("black"),
    "camera of wrong size": camera("resized"),
    "action NaN": misbehaviour("nan"),
    "action huge": misbehaviour("huge"),
    "action stale": misbehaviour("stale"),
    "policy hangs": misbehaviour("silent"),
    "policy killed": deed("kill policy"),
    "reward model killed": deed("kill reward"),
    "disk full": deed("fill disk"),
    "servo hot": lambda rng: Plan(
        "", faults=Faults(temperatures={str(rng.choice(["gripper", "elbow_flex"])): 65.0})
    ),
    "Ctrl-C": deed("interrupt"),
    "loop killed": deed("loop killed"),
    "loop hangs": deed("loop hangs"),
}
