"""Half-trained policies: behaviour cloning from a few expert demonstrations, stopped early and played in the env.

The policy reads what no reward model is shown, the simulator's own state, so that it gets anywhere within seconds of
training; its mistakes are a real policy's: it hesitates, misses, freezes and drifts, as no script does. In two rollouts
of three an expert leads in and hands over midway, or long tasks would show nothing but failed beginnings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import progress_envs  # noqa: F401
from progress_datasets.segments import Outcome
from progress_datasets.write import EpisodeData, write_dataset
from progress_envs import arm
from progress_envs.expert import make_expert
from progress_envs.names import env_id
from progress_envs.recording import HALF_DONE, TAIL, stage_segments

VIEWS = ("front", "top", "wrist")
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Practice:
    """How a policy is trained, and when it is stopped.

    Attributes:
        demonstrations: expert episodes it learns from.
        stops: gradient steps after which a copy is put aside; the rollouts are shared out among these.
        chunk: actions it predicts at once.
        replan: how many of them it carries out before it looks again.
        leads: shares of the experts' mean length for which an expert leads in; each stop gets each of them in turn.
        patience: a rollout ends after so many times the experts' mean length.
    """

    demonstrations: int = 40
    stops: tuple[int, ...] = (500, 2000, 6000)
    chunk: int = 8
    replan: int = 4
    leads: tuple[float, ...] = (0.0, 0.35, 0.7)
    patience: float = 1.3


class Policy(nn.Module):
    """State → the next joint targets, relative to the joints' present positions."""

    def __init__(self, inputs: int, joints: int, chunk: int) -> None:
        super().__init__()
        self.chunk, self.joints = chunk, joints
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.body = nn.Sequential(
            nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, chunk * joints)
        )

    def forward(self, seen: Tensor) -> Tensor:
        """[B, inputs] → [B, chunk, joints], in the units of the joints, divided by ten."""
        out: Tensor = self.body(((seen - self.mean) / self.scale).clamp(-5, 5))
        return out.unflatten(1, (self.chunk, self.joints))

    @torch.no_grad()
    def act(self, seen: Floats) -> Floats:
        """Joint targets [chunk, joints] for what is seen now."""
        change = self(torch.from_numpy(seen)[None])[0].numpy() * 10
        return np.asarray(seen[: self.joints] + change, np.float32)


def record_rollouts(
    task: str, root: Path, count: int, seed: int, image_size: int, practice: Practice
) -> None:
    """Train, play `count` episodes and write them as a dataset, with stages and true progress as `collect` does."""
    env = gymnasium.make(
        env_id(task), obs_type="state", split="train", image_size=image_size, disable_env_checker=True
    )
    policies, usual = train_policies(env, seed, practice)
    env.close()
    env = gymnasium.make(
        env_id(task), obs_type="state", split="test", image_size=image_size, disable_env_checker=True
    )
    inner: Any = env.unwrapped

    def rollouts() -> Iterator[EpisodeData]:
        for number in range(count):
            stop = number % len(policies)
            lead = practice.leads[number // len(policies) % len(practice.leads)]
            key = int(np.random.SeedSequence([seed, 1, number]).generate_state(1)[0])
            note = {"gradient_steps": practice.stops[stop], "expert_share": lead}
            yield rollout(env, policies[stop], practice, usual, lead, key, note)

    write_dataset(
        root,
        inner.fps,
        rollouts(),
        state_names=arm.NAMES,
        action_names=arm.NAMES,
        stage_order=dict.fromkeys(type(inner.task).instructions(), inner.task.stages),
        metadata={"env_id": env_id(task), "render": inner.render_backend, "seed": seed, "split": "test"},
        robot_type="so101_follower",
    )
    env.close()


def train_policies(env: Any, seed: int, practice: Practice) -> tuple[list[Policy], float]:
    """The policies at each stop, and the experts' mean length in frames."""
    seen, wanted, lengths = [], [], []
    for number in range(practice.demonstrations):
        key = int(np.random.SeedSequence([seed, 0, number]).generate_state(1)[0])
        states, actions = _demonstrate(env, key)
        lengths.append(len(states))
        ahead = np.minimum(np.arange(len(states))[:, None] + np.arange(practice.chunk), len(states) - 1)
        seen.append(states)
        wanted.append((actions[ahead] - states[:, None, : actions.shape[1]]) / 10)
    x, y = torch.from_numpy(np.concatenate(seen)), torch.from_numpy(np.concatenate(wanted))
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    policy = Policy(x.shape[1], y.shape[2], practice.chunk)
    policy.mean.copy_(x.mean(0))
    policy.scale.copy_(x.std(0).clamp(min=1e-2))
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    kept = []
    for step in range(1, practice.stops[-1] + 1):
        rows = torch.from_numpy(rng.integers(len(x), size=256))
        loss = (policy(x[rows]) - y[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in practice.stops:
            copy = Policy(x.shape[1], y.shape[2], practice.chunk)
            copy.load_state_dict(policy.state_dict())
            kept.append(copy.eval())
    return kept, float(np.mean(lengths))


def _demonstrate(env: Any, seed: int) -> tuple[Floats, Floats]:
    """States [T, …] and actions [T, joints] of one expert episode."""
    observation, _ = env.reset(seed=seed)
    expert = make_expert(env, "expert", seed)
    states, actions, over = [], [], False
    while not over:
        action = expert.act()
        if expert.done:
            break
        states.append(_state(observation))
        actions.append(action)
        observation, _, terminated, truncated, _ = env.step(action)
        over = terminated or truncated
    return np.stack(states), np.stack(actions).astype(np.float32)


def _state(observation: dict[str, Floats]) -> Floats:
    return np.concatenate([observation["agent_pos"], observation["environment_state"]])


def rollout(
    env: Any,
    policy: Policy,
    practice: Practice,
    usual: float,
    lead: float,
    seed: int,
    note: dict[str, float],
) -> EpisodeData:
    """One episode of a policy that takes over after `lead` of the `usual` length; `note` is kept with the episode."""
    inner = env.unwrapped
    observation, info = env.reset(seed=seed)
    expert = make_expert(env, "expert", seed)
    handover, limit = round(lead * usual), round(practice.patience * usual)
    task, stages = inner.task.instruction, inner.task.stages
    frames: dict[str, list[Any]] = {view: [] for view in VIEWS}
    states, actions, progress, stage = [], [], [], []

    def see() -> None:
        for view in VIEWS:
            frames[view].append(inner.picture(view, inner.image_size))
        states.append(observation["agent_pos"])
        progress.append(info["progress"])
        stage.append(stages.index(info["stage"]))

    plan: list[Floats] = []
    over = False
    while not over and len(states) < limit:
        see()
        if len(states) <= handover:
            plan = [expert.act()]
        elif not plan:
            plan = list(policy.act(_state(observation))[: practice.replan])
        actions.append(np.clip(plan.pop(0), arm.LOW, arm.HIGH).astype(np.float32))
        observation, _, terminated, truncated, info = env.step(actions[-1])
        over = terminated or truncated
    see()
    finished = len(states)
    success = bool(info["is_success"])
    for _ in range(round(TAIL * inner.fps) if success else 0):
        actions.append(actions[-1])
        observation, *_, info = inner.step(actions[-1])
        see()
    actions.append(actions[-1])
    outcome = Outcome.PARTIAL if progress[-1] >= HALF_DONE else Outcome.FAILURE
    return EpisodeData(
        task=task,
        frames={view: np.stack(pictures) for view, pictures in frames.items()},
        state=np.stack(states),
        action=np.stack(actions),
        extra={"progress": np.array(progress, np.float32)},
        segments=stage_segments(stage[:finished], stages, success),
        info={
            "quality": "policy",
            "outcome": str(Outcome.SUCCESS if success else outcome),
            "seed": seed,
            "env_id": env.spec.id,
            **note,
        },
    )
