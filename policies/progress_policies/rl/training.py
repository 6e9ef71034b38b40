"""The loop: demonstrations, a cloned base, then rollouts and updates, to be interrupted and resumed at any rollout."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from progress_policies.rl import Config
from progress_policies.rl.base import BasePolicy, NoBase, clone
from progress_policies.rl.corrections import with_corrections
from progress_policies.rl.episodes import Episode, demonstrate, demonstration_seeds, play, with_base
from progress_policies.rl.evaluation import FIRST_SEED, evaluate, film, mean_action
from progress_policies.rl.replay import Replay
from progress_policies.rl.rlpd import Learner, restore, spread, training_state
from progress_policies.rl.world import Decisions, StateNumbers, make_world
from progress_rm.shaping import bootstrap_discount

ACTIONS = 6


def train(config: Config) -> dict[str, Any]:
    """Run it all; prints and returns the summary that `training.json` holds.

    Raises:
        UserError: `output_dir` holds something else, or an option does not fit the task.
    """
    from progress_rm.checkpoints import claim_output

    output = claim_output(config, Path(config.output_dir))
    torch.set_num_threads(1)
    training = Training(config, output)
    training.resume()
    training.learn()
    return training.finish()


class Training:
    """One run. Everything drawn in rollout n follows from the seed and what came before, so resuming is exact."""

    def __init__(self, config: Config, output: Path) -> None:
        self.config, self.output = config, output
        model = None
        if config.needs_model:
            from progress_rm import load_model

            model = load_model(config.reward_model, device="cpu")
        self.world: Decisions = make_world(config, model)
        self.judge: Decisions = make_world(config, model, truth=True)
        size = self.world.observation_space.shape
        assert size is not None
        self.inputs = size[0]
        spread(config.learner.residual, ACTIONS)
        self.learner = Learner(self.inputs, ACTIONS, config.learner, config.seed)
        self.base: BasePolicy = NoBase(self.inputs - 1, ACTIONS)
        if config.clone:
            self.base = BasePolicy(self.inputs - 1, ACTIONS, self.ignored)
        self.replay = Replay(self.inputs - 1, ACTIONS)
        self.rng = np.random.default_rng(config.seed)
        self.done = 0
        self.rollouts: list[dict[str, Any]] = []
        self.evaluations: list[dict[str, Any]] = []
        self.seconds = dict.fromkeys(("physics", "rendering", "reward_model", "gradient", "evaluation"), 0.0)

    @property
    def ignored(self) -> int:
        """So many of the first numbers the base policy need not see, and one demonstration would mislead it by."""
        numbers = self.world.numbers
        return numbers.ABSOLUTE if isinstance(numbers, StateNumbers) and numbers.relative_only else 0

    def learn(self) -> None:
        """From the last checkpoint, or from the demonstrations, to the last rollout."""
        from torch.utils.tensorboard import SummaryWriter

        config = self.config
        if not self.replay and config.demonstrations:
            self.begin()
        writer = SummaryWriter(str(self.output / "logs"), purge_step=self.done)
        if not self.evaluations:
            self.evaluate(writer)
        with tqdm(total=config.rollouts, initial=self.done, desc=f"rl {config.env}", unit="rollout") as bar:
            while self.done < config.rollouts:
                episode = self.roll_out()
                losses = self.improve(len(episode))
                self.done += 1
                for name, value in {**self.rollouts[-1], **losses}.items():
                    writer.add_scalar(f"rollout/{name}", value, self.done)
                if self.done % config.evaluate_every == 0 or self.done == config.rollouts:
                    self.evaluate(writer)
                recent = [row["success"] for row in self.rollouts[-20:]]
                bar.set_postfix(
                    success=f"{np.mean(recent):.2f}", evaluated=f"{self.evaluations[-1]['success']:.2f}"
                )
                bar.update()
                if self.done % config.checkpoint_every == 0 or self.done == config.rollouts:
                    self.save()
        writer.close()

    def begin(self) -> None:
        """Demonstrations into the buffer, and a clone of them as the base policy."""
        shown = demonstrate(self.world, self.config, NoBase(self.inputs - 1, ACTIONS))
        if self.config.clone:
            seeds = demonstration_seeds(self.config)
            seen, actions = with_corrections(self.world, shown, seeds, self.config.seed)
            self.base = clone(seen, actions, self.config.seed, self.ignored)
        for episode in shown:
            self.replay.add(with_base(episode.columns, self.base))

    def roll_out(self) -> Episode:
        """Live the next rollout and keep it."""

        def choose(seen: Any, leaning: Any) -> Any:
            return self.learner.act(
                torch.from_numpy(seen)[None], torch.from_numpy(leaning)[None], explore=True
            )[0].numpy()

        drawn, asked = self.world.camera.seconds, self.world.timed.seconds
        seed = 1 + self.config.seed * 100_000 + self.done
        episode = play(self.world, self.base, choose, seed, self.done, self.config.intervene_after)
        drawn, asked = self.world.camera.seconds - drawn, self.world.timed.seconds - asked
        features = self.config.observation == "features"
        self.seconds["rendering"] += drawn
        self.seconds["reward_model"] += asked - (0.0 if features else drawn)
        self.seconds["physics"] += episode.seconds - asked - (drawn if features else 0.0)
        self.replay.add(episode.columns)
        self.rollouts.append(
            {
                "success": int(episode.success),
                "env_success": int(episode.env_success),
                "decisions": len(episode),
                "interventions": episode.interventions,
                "progress": float(episode.columns["after"][-1]),
            }
        )
        return episode

    def improve(self, decisions: int) -> dict[str, float]:
        """The updates that so many decisions call for; the actor's only after the warm-up."""
        config, options, start = self.config, self.config.learner, time.perf_counter()
        shaping = config.shaping()
        first = config.gamma if config.bootstrap is None else config.bootstrap
        discount = bootstrap_discount(config.gamma, first, self.done / config.anneal)
        losses: dict[str, float] = {}
        for _ in range(decisions):
            for update in range(options.updates):
                batch = self.replay.draw(self.rng, options.batch_size, options.n_step, shaping, discount)
                losses |= self.learner.update_critics(batch)
                if self.done >= config.warm_up and update < options.actor_updates:
                    losses |= self.learner.update_actor(batch)
        self.seconds["gradient"] += time.perf_counter() - start
        return losses | {"bootstrap": discount}

    def evaluate(self, writer: Any) -> None:
        """Success over the fixed scenes, by the env's word."""
        start = time.perf_counter()
        learner = self.learner if self.done else None
        act = mean_action(self.base, learner)
        found = evaluate(self.judge, act, self.config.evaluation_episodes, self.done)
        self.seconds["evaluation"] += time.perf_counter() - start
        self.evaluations.append(found.as_dict())
        writer.add_scalar("evaluation/success", found.success, self.done)

    def save(self) -> None:
        """A checkpoint, whole or not at all."""
        from safetensors.torch import save_file

        from progress_rm.checkpoints import write_folder

        self.replay.save(self.output / "buffer.zarr")
        progress = {
            "done": self.done,
            "rows": len(self.replay),
            "random": self.rng.bit_generator.state,
            "rollouts": self.rollouts,
            "evaluations": self.evaluations,
            "seconds": self.seconds,
        }

        def fill(part: Path) -> None:
            save_file(training_state(self.learner), part / "learner.safetensors")
            save_file(self.base.state_dict(), part / "base.safetensors")
            (part / "progress.json").write_text(json.dumps(progress))

        write_folder(self.output / "checkpoint", fill)

    def resume(self) -> None:
        """Go back to the last checkpoint, if there is one."""
        from safetensors.torch import load_file

        from progress_rm.checkpoints import whole_folder

        folder = whole_folder(self.output / "checkpoint")
        if folder is None:
            return
        progress = json.loads((folder / "progress.json").read_text())
        restore(self.learner, load_file(folder / "learner.safetensors"))
        self.base.load_state_dict(load_file(folder / "base.safetensors"))
        self.replay.load(self.output / "buffer.zarr", progress["rows"])
        self.rng.bit_generator.state = progress["random"]
        self.done, self.rollouts = progress["done"], progress["rollouts"]
        self.evaluations, self.seconds = progress["evaluations"], progress["seconds"]

    def finish(self) -> dict[str, Any]:
        """Videos, the summary, the page."""
        from progress_policies.rl.page import write_page

        for number in range(self.config.videos):
            path = self.output / "videos" / f"episode_{number}.mp4"
            if not path.exists():
                film(self.judge, mean_action(self.base, self.learner), path, FIRST_SEED + number)
        lived = sum(value for name, value in self.seconds.items() if name != "evaluation")
        summary = {
            "env": self.config.env,
            "reward": self.config.reward,
            "progress": self.config.progress,
            "seed": self.config.seed,
            "success": self.evaluations[-1]["success"],
            "evaluations": self.evaluations,
            "rollouts": self.rollouts,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "shares": {n: round(v / lived, 3) for n, v in self.seconds.items() if n != "evaluation"},
            "learner": asdict(self.config.learner),
        }
        write_page(self.output / "report.html", {self.output.name: summary}, self.output)
        (self.output / "training.json").write_text(json.dumps(summary, indent=1))
        print(json.dumps({k: summary[k] for k in ("env", "reward", "progress", "seed", "success", "shares")}))
        return summary
