"""RLPD: soft actor-critic that learns from demonstrations and its own rollouts in equal parts (Ball et al. 2023).

No maintained library has it, so it is here, in one file: an ensemble of critics with layer normalisation, symmetric
sampling (which the caller does), no entropy in the critics' targets, the least of two random members as target, many
critic updates for each decision. Added to it: the actor is a residual on a base policy (Silver et al. 2018), targets
are n-step returns, the caller lets the actor stand still at first, so that untrained critics do not spoil a good base,
and what acts in the end is an average of the actor over its last updates. Critics see the potential Φ, the last entry
of an observation, which shaping needs; the actor does not, so that a trained policy runs without a reward model.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass
class LearnerOptions:
    """RLPD."""

    critics: int = 4
    """Members of the ensemble; the least of two random ones is the target."""
    hidden: int = 128
    """Width of both hidden layers of actor and critics."""
    batch_size: int = 128
    """Transitions an update, half of them demonstrations."""
    updates: int = 8
    """Critic updates for each decision taken."""
    actor_updates: int = 3
    """Actor updates for each decision taken."""
    learning_rate: float = 3e-4
    """Of actor and critics."""
    polyak: float = 0.005
    """How far the target critics follow at each update."""
    n_step: int = 3
    """Decisions whose rewards a target sums before it bootstraps."""
    temperature: float = 0.002
    """Weight of the actor's entropy, to begin with."""
    temperature_rate: float = 1e-4
    """Learning rate of the temperature; slow."""
    target_entropy: float = -4.0
    """Entropy that the temperature aims for."""
    residual: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5, 0.5, 0.5, 1.5])
    """How far the actor can depart from the base policy, for each entry of an action; one number for all of them."""
    anchor: float = 0.05
    """What the actor pays for the square of each entry's departure, as a share of how far it can depart: where the
    critics do not promise more, it does what the base policy does."""
    first_std: float = 0.1
    """Standard deviation of the actor's residual at first, as a share of how far it can depart."""


class Batch(NamedTuple):
    """B transitions over one to n decisions, float32.

    Attributes:
        seen, base: [B, D] observation with Φ, [B, A] the base policy's action there.
        action: [B, A] what was done, in [−1, 1].
        reward: [B] discounted sum of shaped rewards.
        later, later_base: [B, D], [B, A] where the transition ended.
        discount: [B] of the value there; 0 after the end of the task, and only then.
    """

    seen: Tensor
    base: Tensor
    action: Tensor
    reward: Tensor
    later: Tensor
    later_base: Tensor
    discount: Tensor


class EnsembleLayer(nn.Module):
    """E linear layers at once, with layer normalisation and ReLU: [E, B, inputs] → [E, B, outputs]."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))
        self.gain = nn.Parameter(torch.ones(members, 1, outputs))
        self.shift = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, values: Tensor) -> Tensor:
        mixed = torch.baddbmm(self.bias, values, self.weight)
        normal = functional.layer_norm(mixed, mixed.shape[-1:])
        return torch.relu(torch.addcmul(self.shift, normal, self.gain))


class Critics(nn.Module):
    """Q of E critics: [B, D], [B, A] → [E, B]."""

    def __init__(self, members: int, inputs: int, hidden: int) -> None:
        super().__init__()
        self.members = members
        self.layers = nn.Sequential(
            EnsembleLayer(members, inputs, hidden), EnsembleLayer(members, hidden, hidden)
        )
        self.last = nn.Parameter(torch.empty(members, hidden, 1).uniform_(-0.01, 0.01))
        self.bias = nn.Parameter(torch.zeros(members, 1, 1))

    def forward(self, seen: Tensor, action: Tensor) -> Tensor:
        inputs = torch.cat([seen, action], -1).expand(self.members, -1, -1)
        return torch.baddbmm(self.bias, self.layers(inputs), self.last).squeeze(-1)


class Actor(nn.Module):
    """A squashed normal around the base policy: a = clip(base + reach · tanh(u), −1, 1)."""

    reach: Tensor

    def __init__(self, inputs: int, actions: int, options: LearnerOptions) -> None:
        super().__init__()
        width = options.hidden
        self.body = nn.Sequential(
            *(nn.Linear(inputs + actions, width), nn.LayerNorm(width), nn.ReLU()),
            *(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU()),
        )
        self.head = nn.Linear(width, 2 * actions)
        # At first the actor is the base policy and a little noise.
        nn.init.uniform_(self.head.weight, -1e-3, 1e-3)
        nn.init.zeros_(self.head.bias)
        self.head.bias.data[actions:] = math.log(options.first_std)
        self.register_buffer("reach", torch.tensor(spread(options.residual, actions)))

    def forward(self, seen: Tensor, base: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Actions [B, A] and the log density [B] of their residuals; the mean action where there is no noise [B, A]."""
        mean, log_std = self.head(self.body(torch.cat([seen, base], -1))).chunk(2, -1)
        log_std = log_std.clamp(-5, 1)
        raw = mean if noise is None else mean + log_std.exp() * noise
        action = (base + self.reach * torch.tanh(raw)).clamp(-1, 1)
        if noise is None:
            return action, torch.zeros(len(seen))
        squash = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))
        density = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi) - squash
        return action, density.sum(-1)


RECENT = 8
"""The average over the actor's updates reaches back about one in so many of them."""


class Learner(nn.Module):
    """Actor, its average, critics, their targets and their optimisers.

    The actor chases critics that move, so its last weights are as good as chance has it; the polynomially decaying
    average of all of them (Shamir and Zhang 2013, arXiv 1212.1824) decides where nothing is explored.

    Args:
        inputs: D, length of an observation with Φ.
        actions: A, length of an action.
        options: RLPD's.
        seed: of weights and noise.
    """

    averaged: Tensor

    def __init__(self, inputs: int, actions: int, options: LearnerOptions, seed: int) -> None:
        super().__init__()
        self.options, self.actions = options, actions
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.actor = Actor(inputs - 1, actions, options)
            self.critics = Critics(options.critics, inputs + actions, options.hidden)
            self.targets = Critics(options.critics, inputs + actions, options.hidden)
        self.targets.load_state_dict(self.critics.state_dict())
        self.targets.requires_grad_(False)
        self.average = copy.deepcopy(self.actor).requires_grad_(False)
        self.register_buffer("averaged", torch.tensor(0))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(options.temperature)))
        rate = options.learning_rate
        self.optimizers = {
            "actor": torch.optim.Adam(self.actor.parameters(), rate, fused=True),
            "critics": torch.optim.Adam(self.critics.parameters(), rate, fused=True),
            "temperature": torch.optim.Adam([self.log_temperature], options.temperature_rate),
        }
        self.random = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def act(self, seen: Tensor, base: Tensor, explore: bool) -> Tensor:
        """Actions [B, A] for observations without Φ [B, D − 1]: drawn by the actor, or the mean ones of its average."""
        if explore:
            action: Tensor = self.actor(seen, base, self._noise(len(seen)))[0]
        else:
            action = self.average(seen, base, None)[0]
        return action

    def update_critics(self, batch: Batch) -> dict[str, float]:
        """One step towards r + discount · min of two targets; no entropy in it."""
        with torch.no_grad():
            action, _ = self.actor(batch.later[:, :-1], batch.later_base, self._noise(len(batch.reward)))
            pair = torch.randperm(self.options.critics, generator=self.random)[:2]
            later = self.targets(batch.later, action)[pair].min(0).values
            target = batch.reward + batch.discount * later
        q = self.critics(batch.seen, batch.action)
        loss = functional.mse_loss(q, target.expand_as(q), reduction="sum") / len(target)
        self._descend("critics", loss)
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.targets.parameters()), list(self.critics.parameters()), self.options.polyak
            )
        return {"critic_loss": loss.item() / self.options.critics, "q": q.mean().item()}

    def update_actor(self, batch: Batch) -> dict[str, float]:
        """One step up the mean of the critics, with entropy; then one of the temperature."""
        action, density = self.actor(batch.seen[:, :-1], batch.base, self._noise(len(batch.reward)))
        self.critics.requires_grad_(False)
        value = self.critics(batch.seen, action).mean(0)
        temperature = self.log_temperature.exp().detach()
        departure = ((action - batch.base) / self.actor.reach).square().sum(-1)
        self._descend("actor", (temperature * density + self.options.anchor * departure - value).mean())
        self.critics.requires_grad_(True)
        self._average()
        entropy = -density.detach().mean()
        self._descend("temperature", self.log_temperature.exp() * (entropy - self.options.target_entropy))
        return {"temperature": temperature.item(), "entropy": entropy.item()}

    @torch.no_grad()
    def _average(self) -> None:
        self.averaged += 1
        weight = (1 + RECENT) / (int(self.averaged) + RECENT)
        torch._foreach_lerp_(list(self.average.parameters()), list(self.actor.parameters()), weight)

    def _noise(self, count: int) -> Tensor:
        return torch.randn(count, self.actions, generator=self.random)

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers[name].step()


def spread(residual: Sequence[float], actions: int) -> list[float]:
    """One number for each entry of an action; a single one holds for all."""
    return list(residual) * actions if len(residual) == 1 else list(residual)


def training_state(learner: Learner) -> dict[str, Tensor]:
    """Everything that going on exactly takes, as tensors by name: weights, optimisers, noise."""
    found = {f"weights.{name}": value for name, value in learner.state_dict().items()}
    for name, optimizer in learner.optimizers.items():
        for number, values in optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{name}.{number}.{key}": value for key, value in values.items()}
    return {name: value.contiguous() for name, value in found.items()} | {
        "random": learner.random.get_state()
    }


def restore(learner: Learner, state: dict[str, Tensor]) -> None:
    """Undo `training_state`."""
    learner.load_state_dict(
        {name.removeprefix("weights."): value for name, value in state.items() if name.startswith("weights.")}
    )
    learner.random.set_state(state["random"])
    for name, optimizer in learner.optimizers.items():
        values: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith(f"optimizer.{name}."):
                number, leaf = key.removeprefix(f"optimizer.{name}.").split(".")
                values.setdefault(int(number), {})[leaf] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": values})
