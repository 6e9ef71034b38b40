"""Does a policy do as well through LeRobot's driver as in the plain env? The same policy on the same seeded scenes.

    python benchmarks/robot_parity.py [--episodes=100] [--policy=FOLDER] [--scenes=DATASET] [--fps=25] [--quick]

- Driver: `progress-rm run`'s loop with its limits, asynchronous inference and processes; LeRobot's unmodified SO-101
  driver; the simulated servo bus, with the times of a real wire, and its cameras, in real time.
- Env: `ProgressEnv`, which waits for the policy and does exactly what it says.

A policy gets what a robot gives: joints and pictures. --policy is a folder as LeRobot saves one (from `progress-rm bc
--policy.…`; --fps is the rate of its demonstrations). Without one the scripted expert is played as a policy; it looks
at the scene itself and so measures what driver, bus and limits cost alone. In both, an episode ends with the task done
or with the task's time limit, and the simulator alone says whether it was done. An episode that a fault ends counts as
failed. With --scenes the scenes are those of recorded demonstrations, in turn: how well the policy does in others is
not the question here.

`difference` is success_driver - success_env with Newcombe's 95 % interval (1998, method 10, from Wilson's), as if the
scenes were not the same: too wide rather than too narrow. Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from provenance import provenance
from robot_hardware import hurry

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_envs.env import ProgressEnv
from progress_envs.expert import make_expert
from progress_envs.hardware.simulated import SimulatedRobot
from progress_rm.metrics.resample import wilson_interval

ENV = "PickPlace"
TASK = "put the cube into the bin"
SEED = 2_000_000
"""Of the first scene; the next ones follow."""

TRIES = 10
"""How often the driver may fail to connect; it asks once and waits 50 ms."""


@dataclass(frozen=True)
class Player:
    """Who acts; see the options.

    Attributes:
        folder: of the policy; empty for the expert.
        fps: actions a second.
        views, image_size: what it sees.
    """

    folder: str
    fps: int
    views: tuple[str, ...] = ("front",)
    image_size: int = 32


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Play in both places, print and return how often the task was done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=100, help="scenes")
    parser.add_argument(
        "--policy", default="", help="folder of a LeRobot policy; the scripted expert if none"
    )
    parser.add_argument("--scenes", type=Path, help="a dataset of progress-rm collect; new scenes if none")
    parser.add_argument("--fps", type=int, default=25, help="actions a second: 5, 10, 25 or 50")
    parser.add_argument("--quick", action="store_true", help="two scenes: does it run?")
    parser.add_argument(
        "--fork", action="store_true", help="fork the loop's processes from this one: they start quicker"
    )
    options = parser.parse_args(argv)
    count = 2 if options.quick else options.episodes
    if count < 1:
        parser.error("--episodes: give at least 1")
    if options.fork:
        from progress_policies.run import workers

        workers.METHOD = "fork"
    load = os.getloadavg()[0]
    player = read_player(options.policy, options.fps)
    seeds = read_seeds(options.scenes, count)
    in_env = play_env(player, seeds)
    through_driver, faults = play_driver(player, seeds)
    rest = {"policy": describe(player.folder), "scenes": len(set(seeds)), "fps": player.fps}
    summary = {**summarise(through_driver, in_env), "faults": faults, **rest, "load_average": load}
    summary |= provenance(__file__, argv)
    print(json.dumps(summary))
    return summary


def read_player(folder: str, fps: int) -> Player:
    """What a saved policy needs to see."""
    if not folder:
        return Player(folder, fps)
    inputs = json.loads((Path(folder) / "config.json").read_text())["input_features"]
    seen = {name.rpartition(".")[2]: one["shape"] for name, one in inputs.items() if ".images." in name}
    size = max((shape[1] for shape in seen.values()), default=32)
    return Player(folder, fps, tuple(seen) or ("front",), size)


def describe(folder: str) -> str:
    """What a saved policy is, in a few words."""
    if not folder:
        return "expert"
    kind = json.loads((Path(folder) / "config.json").read_text())["type"]
    training = Path(folder) / "train_config.json"
    if not training.exists():
        return str(kind)
    told = json.loads(training.read_text())
    return f"{kind}, {told['steps']} steps of {told['batch_size']}"


def read_seeds(scenes: Path | None, count: int) -> list[int]:
    """The scene of each episode."""
    if scenes is None:
        return list(range(SEED, SEED + count))
    demonstrations = EpisodeDataset(scenes)
    seeds = [int(demonstrations.info(episode)["seed"]) for episode in range(demonstrations.num_episodes)]
    return [seeds[k % len(seeds)] for k in range(count)]


def play_env(player: Player, seeds: Sequence[int]) -> list[bool]:
    """Whether the task was done in each scene of the plain env."""
    kind = "pixels_state" if player.folder else "state"
    env = ProgressEnv(ENV, obs_type=kind, views=player.views, image_size=player.image_size, fps=player.fps)
    actor = actor_for(player, env)
    done = []
    for number, seed in enumerate(seeds):
        observation, _ = env.reset(seed=seed)
        act = actor()
        success = over = False
        while not (success or over):
            observation, _, success, over, _ = env.step(act(observation).astype(np.float32))
        done.append(success)
        report("env", number, success)
    env.close()
    return done


def actor_for(player: Player, env: ProgressEnv) -> Callable[[], Callable[[dict[str, Any]], Any]]:
    """Makes for each episode a function from observations to actions [6]."""
    if not player.folder:

        def demonstrate() -> Callable[[dict[str, Any]], Any]:
            expert = make_expert(env)
            return lambda observation: expert.act()

        return demonstrate
    from progress_policies.run.board import Seen
    from progress_policies.run.policy_worker import Policy, PolicyOptions

    policy = Policy(PolicyOptions(path=player.folder), TASK, "so_follower")

    def begin() -> Callable[[dict[str, Any]], Any]:
        policy.reset()
        planned: list[Any] = []
        seen: deque[Seen] = deque(maxlen=policy.ticks)

        def act(observation: dict[str, Any]) -> Any:
            now = Seen(0, 0.0, observation["agent_pos"].astype(np.float64), observation["pixels"])
            seen.extend([now] * (1 if seen else policy.ticks))
            if not planned:
                planned.extend(policy.look(list(seen))[: policy.used])
            return planned.pop(0)

        return act

    return begin


def play_driver(player: Player, seeds: Sequence[int]) -> tuple[list[bool], dict[str, int]]:
    """Whether the task was done in each scene through the driver, and how many attempts ended by which fault."""
    options = {"views": player.views, "image_size": player.image_size, "wire_time": True}
    done: list[bool] = []
    faults: dict[str, int] = {}
    with SimulatedRobot(ENV, **options) as robot:  # type: ignore[arg-type]
        # Its first pictures take long.
        time.sleep(3.0)
        hurry(robot.pid)
        while len(done) < len(seeds):
            for attempt, success in patiently(robot, player, seeds[len(done) :]):
                if attempt.fault is not None:
                    faults[attempt.fault.kind] = faults.get(attempt.fault.kind, 0) + 1
                done.append(success)
                report("driver", len(done) - 1, success, attempt.ended_by)
    return done, faults


def patiently(robot: SimulatedRobot, player: Player, seeds: Sequence[int]) -> list[tuple[Any, bool]]:
    """`attempts`, begun again where the machine is too busy for the driver to connect."""
    for left in reversed(range(TRIES)):
        try:
            return attempts(robot, player, seeds)
        except UserError:
            if not left:
                raise
            robot.power_cycle()
    raise AssertionError


def attempts(robot: SimulatedRobot, player: Player, seeds: Sequence[int]) -> list[tuple[Any, bool]]:
    """One session with the robot, until its scenes are done or a fault ends it: attempts, and whether they did it."""
    import robot_players
    import yaml

    from progress_policies.run import policy_worker
    from progress_policies.run.config import Config
    from progress_policies.run.crew import Players
    from progress_policies.run.ending import EndingOptions
    from progress_policies.run.policy_worker import PolicyOptions
    from progress_policies.run.safety import SafetyOptions
    from progress_policies.run.session import Session
    from progress_rm.score import ModelOptions

    limits = Path(__file__).parents[1] / "robot_configs" / "simulated_so101.yaml"
    config = Config(
        robot=robot.robot_config(),
        policy=PolicyOptions(path=player.folder or str(robot.folder)),
        reward=ModelOptions(path=str(robot.folder)),
        task=TASK,
        fps=player.fps,
        episodes=len(seeds),
        reset_s=0.0,
        # The simulator says when it is done; nothing else but time ends it.
        ending=EndingOptions(success_s=0.0, stall_s=0.0, regression=0.0, time_limit_s=float(time_limit())),
        safety=SafetyOptions(**yaml.safe_load(limits.read_text())["safety"], hold_s=0.2, relax_s=0.0),
    )
    successes: list[bool] = []

    def lay_out(number: int) -> None:
        for worker in session.crew.workers if session.crew and not player.folder else ():
            # The players stand for models that are quick enough.
            hurry(worker.process.pid)
        if number:
            successes.append(robot.success)
        robot.reset(seed=seeds[number])

    act = policy_worker.act if player.folder else robot_players.demonstrate
    session = Session(config, players=Players(act, robot_players.tell), lay_out=lay_out)
    session.run()
    successes.append(robot.success)
    return list(zip(session.attempts, successes, strict=True))


def time_limit() -> float:
    """Seconds for the task, as in the env."""
    from progress_envs.task import load_task

    return load_task(ENV).time_limit


def summarise(through_driver: Sequence[bool], in_env: Sequence[bool]) -> dict[str, Any]:
    """Rates, their difference and intervals."""
    n, a, b = len(in_env), sum(through_driver), sum(in_env)
    return {
        "success_driver": a / n,
        "success_env": b / n,
        "difference": (a - b) / n,
        "difference_interval": difference_interval(a, n, b, n),
        "episodes": n,
        "intervals": {"driver": wilson_interval(a, n), "env": wilson_interval(b, n)},
        "same_outcome": sum(x == y for x, y in zip(through_driver, in_env, strict=True)),
    }


def difference_interval(a: int, of_a: int, b: int, of_b: int) -> list[float]:
    """95 % interval of a/of_a - b/of_b from two samples (Newcombe 1998, method 10)."""
    (low_a, high_a), (low_b, high_b) = wilson_interval(a, of_a), wilson_interval(b, of_b)
    p, q = a / of_a, b / of_b
    return [p - q - math.hypot(p - low_a, high_b - q), p - q + math.hypot(high_a - p, q - low_b)]


def report(where: str, number: int, success: bool, how: str = "") -> None:
    """A line for people."""
    print(
        f"{where:<7} scene {number}: {'done' if success else 'not done'} {how}", file=sys.stderr, flush=True
    )


if __name__ == "__main__":
    main()
