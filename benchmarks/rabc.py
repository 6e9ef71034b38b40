"""Does RA-BC copy the good parts of mixed demonstrations? Eight ways of learning from the same ones, and success rates.

    python benchmarks/rabc.py [--quick] [--tasks StoreInDrawer] [--policy act] [--seeds 0 1 2] [--output_dir=DIR]

Demonstrations are mostly bad: of ten, one is an expert's, one hesitant, one clumsy, three failing, four fooling. All
sides learn from the same ones, with the same policy, steps, batch and seeds, from joint angles and the simulator's
state; they differ in the weight of each frame alone. The rule that makes weights of scores is one for all scores; the
two models are also asked with SARM's own, which is LeRobot's.
The reward models are trained on other demonstrations, with annotations, through one shared image extractor. Success is
counted in the same episodes for all.

Everything made is kept in `--output_dir`: killed and repeated, the command goes on; run in parts (other `--sides`,
other `--seeds`), a last run over all of them puts the results together. Prints a table and, as its last line, one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from judge.adapter import Budget, Material, write_whole
from judge.features import SCHEME, episodes_of, kinds_of, prepare
from judge.models import ADAPTERS
from judge.sets import DEMONSTRATORS
from provenance import provenance
from rabc_figure import draw
from rabc_summary import summarise

from progress_datasets.episode_data import EpisodeData
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.write import write_dataset
from progress_envs.names import task_names
from progress_rm.cli import call
from progress_rm.models.base import TaskSpec
from progress_rm.scores import Answers, EpisodeScores, ScoredTask, write_scores

IMAGE_SIZE = 96

MIXTURE = "[expert:1,hesitant:1,clumsy:1,failing:3,fooling:4]"

RULE = ["--weights.kappa_quantile=0.5", "--weights.gate=onward"]
"""How all scores become weights: of episodes that by them failed count only frames after which much more was done, in
those that came far; of all that count, the better half has full weight. Plain numbers would suit one scale of scores
and not another."""

SARMS_RULE = ["--weights.kappa=0.01", "--weights.gate=none"]
"""The same as SARM's paper and `lerobot-train` have it by default; frames at an episode's end count for more here."""

SIDES = {
    "bc": "plain BC on all demonstrations",
    "bc_success_only": "plain BC on those that succeeded, by their recorded outcome",
    "rabc_clock": "RA-BC with a clock: t over a success's mean length, at most 1; to it none has failed",
    "rabc_lerobot_sarm": "RA-BC with LeRobot's SARM, asked as its own script asks",
    "rabc": "RA-BC with multiview_sarm",
    "rabc_lerobot_sarm_own": "RA-BC with LeRobot's SARM by SARM's own rule: what LeRobot does by default",
    "rabc_own": "RA-BC with multiview_sarm by SARM's own rule",
    "rabc_oracle": "RA-BC with the simulator's true progress: the ceiling",
}

MODELS = {"rabc_lerobot_sarm": "lerobot_sarm", "rabc": "multiview_sarm"}

POLICIES = {
    "act": [
        "--policy.type=act",
        "--policy.chunk_size=20",
        "--policy.n_action_steps=10",
        "--policy.dim_model=96",
        "--policy.n_heads=4",
        "--policy.dim_feedforward=384",
        "--policy.n_encoder_layers=2",
        "--policy.use_vae=false",
        "--policy.dropout=0",
        "--policy.pretrained_backbone_weights=null",
        "--policy.optimizer_lr=3e-4",
    ],
    "diffusion": [
        "--policy.type=diffusion",
        "--policy.horizon=16",
        "--policy.n_action_steps=8",
        "--policy.down_dims=[64,128,256]",
        "--policy.diffusion_step_embed_dim=64",
        "--policy.noise_scheduler_type=DDIM",
        "--policy.num_inference_steps=10",
        "--policy.optimizer_lr=3e-4",
    ],
}


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        demonstrations: that policies learn from.
        steps, batch: gradient steps of a policy, and samples of each.
        episodes: of evaluation, for each seed.
        rewards: demonstrations that reward models learn from.
        budget: gradient samples of a reward model; trials that tune LeRobot's come on top.
        encoder_steps: gradient steps of the shared extractor.
    """

    demonstrations: int = 800
    steps: int = 10_000
    batch: int = 64
    episodes: int = 100
    rewards: int = 20
    budget: Budget = field(default_factory=Budget)
    encoder_steps: int = 1500


QUICK = Scale(12, 20, 8, 4, 8, Budget(640, 1, 0.0), 30)
"""Does it run? The numbers mean nothing."""


class Task:
    """One task in a folder of its own: demonstrations, reward models, scores, policies."""

    def __init__(self, name: str, folder: Path, scale: Scale) -> None:
        self.name, self.folder, self.scale = name, folder / name, scale
        self._material: Material | None = None

    def demonstrations(self) -> EpisodeDataset:
        """What policies learn from, with pictures for the reward models."""
        count = self.scale.demonstrations
        return self._collect(
            "demonstrations", count, 10_000_000, f"--qualities={MIXTURE}", "--environment_state=true"
        )

    def states(self) -> Path:
        """The same without the pictures, which no policy here looks at."""
        seen, root = self.demonstrations(), self.folder / "states"
        if not root.exists():
            write_dataset(root, seen.fps, [_without_pictures(seen, e) for e in range(seen.num_episodes)])
        return root

    def scores(self, side: str) -> Path:
        """The scores that a side's weights are made of."""
        path = self.folder / "scores" / f"{side}.parquet"
        if not path.exists():
            seen, spec = self.demonstrations(), self.spec()
            answers = self._answers(side, seen, spec)
            known = ScoredTask(tuple(spec.stages), tuple(spec.priors), spec.length_s)
            write_scores(
                path,
                EpisodeDataset(self.states()),
                {episode: answers(episode) for episode in range(seen.num_episodes)},
                reward_model_path=side,
                tasks=dict.fromkeys(seen.tasks, known),
                label_scheme=SCHEME,
            )
        return path

    def rewards(self) -> EpisodeDataset:
        """Annotated demonstrations that reward models learn from; nobody shows them what fooling looks like."""
        return self._collect("rewards", self.scale.rewards, 0, f"--qualities=[{','.join(DEMONSTRATORS)}]")

    def _collect(self, kind: str, count: int, seed: int, *options: str) -> EpisodeDataset:
        # The folder's last name is how reward models tell tasks apart.
        root = self.folder / kind / self.name
        if not root.exists():
            call(
                "collect",
                [
                    *(f"--env={self.name}", f"--output_dir={root}", f"--episodes={count}", f"--seed={seed}"),
                    *(f"--image_size={IMAGE_SIZE}", *options),
                ],
            )
        return EpisodeDataset(root)

    def spec(self) -> TaskSpec:
        """What their annotations say of the task."""
        return kinds_of([self.rewards()], SCHEME)[self.name]

    def material(self) -> Material:
        """The same as features and labels."""
        if self._material is None:
            self._material = prepare(
                [self.rewards()],
                "small_cnn",
                0,
                self.scale.encoder_steps,
                self.folder / "encoder",
                self.folder / "features",
                IMAGE_SIZE,
            )
        return self._material

    def _answers(self, side: str, seen: EpisodeDataset, spec: TaskSpec) -> Callable[[int], Answers]:
        if side in MODELS:
            material = self.material()
            name = MODELS[side]
            model = ADAPTERS[name]()
            models = self.folder / "models"
            model.train(material, self.scale.budget, 0, models / name, models / f"{name}-choices")
            episodes = episodes_of(seen, material, self.folder / "features")
            return lambda episode: model.track(episodes[episode])
        length = spec.length_s * seen.fps

        def known(episode: int) -> Answers:
            progress = seen.column("progress", episode)
            success = np.float32(progress > 1 - 1e-6)
            if side == "rabc_clock":
                progress = np.minimum(np.arange(len(progress)) / length, 1).astype(np.float32)
                # Nothing that it knows speaks against an episode: the gate lets all pass.
                success = np.ones_like(progress)
            stages = np.full(len(progress), spec.stages[0])
            return EpisodeScores(progress, stages, np.zeros_like(progress), success)

        return known

    def successes(self, side: str, policy: str, seed: int) -> list[int]:
        """Of each evaluation episode: train and evaluate where that has not been done."""
        folder = self.folder / "policies" / f"{policy}-{side}-{seed}"
        if not (folder / "training.json").exists():
            call("bc", [*self.options(side, policy, seed), f"--output_dir={folder}"])
        summary = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        found: list[int] = summary["evaluation"][0]["successes"]
        return found

    def options(self, side: str, policy: str, seed: int) -> list[str]:
        """What `progress-rm bc` is told."""
        weighed = ["--weigh_by=none"]
        if side.startswith("rabc"):
            rule = SARMS_RULE if side.endswith("_own") else RULE
            weighed = [*rule, f"--scores={self.scores(side.removesuffix('_own'))}"]
        return [
            *POLICIES[policy],
            *weighed,
            f"--episodes={'successful' if side == 'bc_success_only' else 'all'}",
            f"--dataset.root={self.states()}",
            f"--steps={self.scale.steps}",
            f"--batch_size={self.scale.batch}",
            f"--seed={seed}",
            f"--save_every={self.scale.steps}",
            *("--env.type=progress", f"--env.task={self.name}", "--env.obs_type=state"),
            *(f"--eval.episodes={self.scale.episodes}", "--eval.envs=20", "--eval.videos=0"),
        ]


def _without_pictures(dataset: EpisodeDataset, episode: int) -> EpisodeData:
    names = ("progress", "observation.environment_state")
    return EpisodeData(
        task=dataset.task(episode),
        frames={},
        state=dataset.column("observation.state", episode),
        action=dataset.column("action", episode),
        extra={name: dataset.column(name, episode) for name in names},
        info={name: dataset.info(episode)[name] for name in ("quality", "outcome")},  # type: ignore[misc]
    )


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Collect, score, train, evaluate; prints and returns the summary."""
    options = _parse(argv)
    scale = QUICK if options.quick else Scale(steps=options.steps, episodes=options.episodes)
    seeds = options.seeds or ([0] if options.quick else [0, 1, 2])
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.tasks:
            task = Task(name, options.output_dir or Path(scratch), scale)
            table = {
                side: [task.successes(side, options.policy, seed) for seed in seeds] for side in options.sides
            }
            results[name] = summarise(table)
            _print(name, options.policy, results[name])
    first = results[options.tasks[0]]["sides"]
    summary = {
        "task": options.tasks[0],
        **{side: numbers["success"] for side, numbers in first.items()},
        "seeds": len(seeds),
        "policy": options.policy,
        "tasks": results,
        "mixture": MIXTURE,
        "rule": RULE,
        "sarms_rule": SARMS_RULE,
        "policy_options": POLICIES[options.policy],
        "scale": asdict(scale),
        "about": SIDES,
        "quick": options.quick,
        **provenance(__file__, argv),
    }
    if options.results is not None:
        write_whole(options.results, summary)
        draw(options.results.with_suffix(".png"), results)
    print(json.dumps(summary))
    return summary


def _print(task: str, policy: str, found: dict[str, Any]) -> None:
    print(f"\n{task}, {policy}: success, 95 % interval, by seed; above plain BC", flush=True)
    for side, numbers in found["sides"].items():
        low, high = numbers["interval"]
        seeds = " ".join(f"{rate:.2f}" for rate in numbers["by_seed"])
        line = f"  {side:<18} {numbers['success']:.2f} [{low:.2f}, {high:.2f}]  {seeds}"
        if side in found.get("above_bc", {}):
            above = found["above_bc"][side]
            line += (
                f"   {above['difference']:+.2f} [{above['interval'][0]:+.2f}, {above['interval'][1]:+.2f}]"
            )
        print(line, flush=True)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed, few of everything: does it run?")
    parser.add_argument("--tasks", nargs="+", choices=task_names(), default=["StoreInDrawer"])
    parser.add_argument("--policy", choices=list(POLICIES), default="act")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--seeds", nargs="+", type=int, help="of training; by default 0 1 2")
    parser.add_argument("--steps", type=int, default=Scale.steps, help="gradient steps of a policy")
    parser.add_argument("--episodes", type=int, default=Scale.episodes, help="of evaluation, for each seed")
    parser.add_argument("--output_dir", type=Path, help="keep everything here; repeat to resume")
    parser.add_argument(
        "--results", type=Path, help="write the JSON to this file, too, and a picture beside it"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
