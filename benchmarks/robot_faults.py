"""Does a robot that runs a policy stay safe whatever goes wrong? Faults are injected into run after run.

    python benchmarks/robot_faults.py --runs=1000 [--quick] [--rows=FILE]

Each run connects LeRobot's unmodified SO-101 driver to a simulated servo bus with three cameras, lets a policy move all
six joints at 30 Hz while a reward model follows and everything is recorded, and then breaks something at a random
moment. The seed decides what, when and how badly. Policy and reward model are scripted (`robot_players.py`) and have
their own processes like trained ones.

Judged by the simulator alone, 200 times a second: no joint beyond its limit; within 200 ms of the moment at which the
fault is noticed no joint moves by more than 5 degrees a second, or its torque is gone; at the end the torque is gone
(unless the wire is cut: a servo that hears nothing holds).
Recordings are judged by reading every episode: the one from before, and the one of the run. A run in which something is
tolerated (a packet lost now and then) ends by its time limit and is judged by the same rules.

Prints a table and, as its last line, one JSON object; exits with 1 if anything was unsafe or lost. With --rows, runs
that are in the file are not made again. The full run's JSON is in `benchmarks/results/robot_faults.json`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provenance import provenance
from robot_faults_judge import Judgement, judge_motion, read_episodes
from robot_faults_plans import KINDS, Plan, plan_for
from robot_faults_summary import Row, read_rows, spans, summarise, table
from robot_hardware import hurry

from progress_datasets.errors import UserError
from progress_envs.arm import JOINTS
from progress_envs.hardware.faults import Faults
from progress_envs.hardware.simulated import SimulatedRobot

FPS = 30
TIME_LIMIT_S = 1.2
HOLD_S = 0.3
WATCHDOG_S = 0.5
DISK_MB = 24
RESERVE_MB = 8


@dataclass
class Bench:
    """What all runs share: the robot, a disk of their own, and whether it is a small one that can be filled."""

    robot: SimulatedRobot
    disk: Path
    small: bool
    template: Path = field(init=False)

    def __post_init__(self) -> None:
        self.template = self.disk / "template"


def main(argv: Sequence[str] | None = None) -> Row:
    """Make the runs; print and return the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000, help="seeds 0 to RUNS - 1; 0: those in --rows")
    parser.add_argument("--first", type=int, default=0, help="seeds FIRST to FIRST + RUNS - 1 instead")
    parser.add_argument(
        "--fork",
        action="store_true",
        help="fork the processes from this one: they start quicker on a busy machine",
    )
    parser.add_argument("--quick", action="store_true", help="one run of each kind")
    parser.add_argument("--rows", type=Path, help="file for one line a run; the same command goes on with it")
    options = parser.parse_args(argv)
    count = len(KINDS) if options.quick else options.runs
    if options.fork:
        from progress_policies.run import workers

        workers.METHOD = "fork"
    rows = read_rows(options.rows)
    start, load = time.monotonic(), os.getloadavg()[0]
    seeds = range(options.first, options.first + count) if count else sorted(rows)
    waiting = [seed for seed in seeds if seed not in rows]
    if waiting:
        with bench() as made:
            for seed in waiting:
                row = attempt(made, seed)
                rows[seed] = row
                if options.rows:
                    with options.rows.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                spent = time.monotonic() - start
                note = "" if row["safe"] and not row["lost"] else f"  {row['complaints']}"
                print(
                    f"{seed:5d} {row['kind']:<22} {row['detail']:<12} {row['ended_by']:<16} {spent:6.0f} s{note}",
                    file=sys.stderr,
                    flush=True,
                )
    made_rows = [rows[seed] for seed in seeds]
    rest = {"seeds": spans(seeds), "load_average": load}
    summary = {**summarise(made_rows), **rest, **provenance(__file__, argv)}
    print(table(summary))
    print(json.dumps(summary))
    return summary


@contextmanager
def bench() -> Iterator[Bench]:
    """A simulated robot and a small disk, for as long as this lasts."""
    with tempfile.TemporaryDirectory(prefix="robot-faults-") as folder:
        disk = Path(folder) / "disk"
        disk.mkdir()
        small = mount(disk)
        try:
            with SimulatedRobot("PickPlace", image_size=48) as robot:
                # Its first pictures take long.
                time.sleep(3.0)
                hurry(robot.pid)
                made = Bench(robot, disk, small)
                prepare(made)
                yield made
        finally:
            if small:
                subprocess.run(["umount", str(disk)], check=False)


def mount(disk: Path) -> bool:
    """Make a folder a disk of its own; whether that is allowed."""
    size = f"size={DISK_MB}m"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], capture_output=True, check=False
    )
    return done.returncode == 0


def prepare(made: Bench) -> None:
    """A sound run, whose dataset is the one that all others add an episode to."""
    for _ in range(10):
        shutil.rmtree(made.template, ignore_errors=True)
        session = play(made, Plan("sound"), made.template)
        if session.saved == [0] and session.attempts[0].ended_by == "time":
            return
        repair(made, 0)
    sys.exit(f"the machine is too busy even for a run without faults: {session.attempts[0].fault}")


def play(made: Bench, plan: Plan, root: Path, broken: Callable[[Any], float] | None = None) -> Any:
    """One session; `broken` breaks something meanwhile and returns when."""
    import robot_players

    from progress_policies.run.config import Config
    from progress_policies.run.crew import Players
    from progress_policies.run.ending import EndingOptions
    from progress_policies.run.policy_worker import PolicyOptions
    from progress_policies.run.recorder import RecordingOptions
    from progress_policies.run.safety import SafetyOptions
    from progress_policies.run.session import Session
    from progress_rm.score import ModelOptions

    config = Config(
        robot=made.robot.robot_config(),
        policy=PolicyOptions(path=plan.policy),
        reward=ModelOptions(path="climb"),
        task="swing",
        fps=FPS,
        ending=EndingOptions(time_limit_s=TIME_LIMIT_S),
        safety=SafetyOptions(
            hold_s=HOLD_S,
            relax_s=0.0,
            release_s=1.0 if plan.unreachable else 10.0,
            stale_s=0.2,
            reward_stale_s=1.0,
        ),
        recording=RecordingOptions(root=str(root), reserve_mb=RESERVE_MB),
    )
    session = Session(config, players=Players(robot_players.swing, robot_players.climb))
    saboteur = threading.Thread(target=sabotage, args=(session, plan, broken), daemon=True)
    saboteur.start()
    try:
        session.run()
    finally:
        saboteur.join()
    return session


def sabotage(session: Any, plan: Plan, broken: Callable[[Any], float] | None) -> None:
    """Wait for the first motion and the planned moment."""
    until = time.monotonic() + 60
    eager: set[int] = set()
    while broken is not None and time.monotonic() < until and not session.attempts:
        if session.loop is not None and session.loop.started:
            time.sleep(max(0.0, session.loop.started + plan.after - time.monotonic()))
            session.broken_at = broken(session)
            return
        for worker in session.crew.workers if session.crew is not None else ():
            if worker.name in ("policy", "reward") and worker.process.pid not in eager:
                # The players stand for models that are quick enough.
                eager.add(worker.process.pid)
                hurry(worker.process.pid)
        time.sleep(0.005)


def attempt(made: Bench, seed: int) -> Row:
    """One run and what is to be said of it."""
    plan = plan_for(seed)
    row: Row = {"seed": seed, "kind": plan.kind, "detail": plan.detail}
    if plan.act == "fill disk" and not made.small:
        return {**row, "skipped": True, "safe": True, "lost": 0, "ended_by": "skipped", "complaints": []}
    repair(made, seed)
    if plan.act.startswith("loop"):
        from robot_faults_watchdog import lose_loop

        begun, noticed = lose_loop(made.robot, plan, HOLD_S, WATCHDOG_S)
        motion = judge_motion(made.robot.trace(begun), noticed)
        return {**row, "ended_by": "watchdog", **verdict(motion, 0, [])}
    root = made.disk / "run"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(made.template, root)
    begun = time.monotonic()
    filler = made.disk / "filler"
    for _ in range(3):
        try:
            session = play(made, plan, root, lambda session: break_(made, plan, session, filler))
        except UserError as error:
            # It would not even start: on a busy machine servos may be too slow for LeRobot's patience.
            print(f"{seed:5d} not started: {error}", file=sys.stderr, flush=True)
            repair(made, seed)
        else:
            break
    else:
        return {**row, "skipped": True, "safe": True, "lost": 0, "ended_by": "not started", "complaints": []}
    made.robot.inject(Faults())
    time.sleep(0.1)
    [done] = session.attempts
    trace = made.robot.trace(begun)
    motion = judge_motion(trace, done.detected, not plan.unreachable, session.loop.started)
    filler.unlink(missing_ok=True)
    found, complaints = read_episodes(root)
    # What moved must have been recorded, whatever is said about it.
    recorded = motion.moved or session.saved != [-1]
    lost = max(0, 1 + recorded - found)
    row |= {"ended_by": done.ended_by, "ticks": done.pace.get("ticks", 0), "episodes": found}
    if (at := getattr(session, "broken_at", None)) is not None and (plan.act or plan.faults):
        row["noticed_after_ms"] = 1000 * (done.detected - at)
    return {**row, **verdict(motion, lost, complaints)}


def repair(made: Bench, seed: int) -> None:
    """A sound, cool robot at its start, and nothing left open by earlier runs: their files have numbers, up to 1024."""
    gc.collect()
    made.robot.inject(Faults(temperatures=dict.fromkeys(JOINTS, 30.0)))
    made.robot.power_cycle()
    made.robot.reset(seed=seed)
    time.sleep(0.05)
    made.robot.inject(Faults())


def verdict(motion: Judgement, lost: int, complaints: list[str]) -> Row:
    """The judge's opinion as JSON."""
    return {
        "safe": not motion.complaints,
        "lost": lost,
        "reaction_ms": motion.reaction_ms,
        "complaints": [*motion.complaints, *complaints],
    }


def break_(made: Bench, plan: Plan, session: Any, filler: Path) -> float:
    """Do what is planned; when it was done."""
    if plan.act == "kill policy":
        session.crew.policy.process.kill()
    elif plan.act == "kill reward":
        session.crew.reward.process.kill()
    elif plan.act == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
    elif plan.act == "fill disk":
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
    elif plan.faults is not None:
        made.robot.inject(plan.faults)
    return time.monotonic()


if __name__ == "__main__":
    result = main()
    sys.exit(1 if result["unsafe"] or result["lost_episodes"] else 0)
