"""The base policy: what a few demonstrations did, imitated by a small network on numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

WIDTH = 256
STEPS = 3000
BATCH = 256
RATE = 2e-3
NOISE = 0.05
"""Standard deviation of the noise on inputs, in the demonstrations' own: few demonstrations cover few places."""


class BasePolicy(nn.Module):
    """Behaviour cloning of numbers.

    Args:
        inputs: D, length of an observation, without Φ.
        actions: A, length of an action.
        ignored: so many of the first entries are not looked at.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, inputs: int, actions: int, ignored: int = 0) -> None:
        super().__init__()
        self.actions = actions
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        self.ignored = ignored
        self.net = nn.Sequential(
            *(nn.Linear(inputs - ignored, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU()),
            *(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU()),
            nn.Linear(WIDTH, actions),
        )

    def forward(self, seen: Tensor) -> Tensor:
        """Actions [B, A] in [−1, 1] for observations [B, D]."""
        inputs = ((seen - self.centre) / self.spread).clamp(-5, 5)
        actions: Tensor = self.net(inputs[:, self.ignored :])
        return actions.clamp(-1, 1)

    @torch.no_grad()
    def act(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [A] for one observation [D]."""
        action: Any = self(torch.from_numpy(seen)[None])[0].numpy()
        return np.asarray(action, np.float32)


class NoBase(BasePolicy):
    """Does nothing: with it the actor's residual is the whole action."""

    def forward(self, seen: Tensor) -> Tensor:
        """Zeros [B, A]."""
        return torch.zeros(len(seen), self.actions)


def clone(seen: NDArray[np.float32], actions: NDArray[np.float32], seed: int, ignored: int = 0) -> BasePolicy:
    """A base policy that does in `seen` [N, D] as `actions` [N, A] did; see `BasePolicy` for `ignored`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = BasePolicy(seen.shape[1], actions.shape[1], ignored)
        inputs, wanted = torch.from_numpy(seen), torch.from_numpy(actions)
        policy.centre.copy_(inputs.mean(0))
        # What hardly moved in the demonstrations would tell every difference from them apart.
        policy.spread.copy_(inputs.std(0).clamp_min(0.1))
        optimizer = torch.optim.AdamW(policy.parameters(), RATE, weight_decay=1e-4, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
        for _ in range(STEPS):
            rows = torch.randint(len(inputs), (BATCH,))
            noisy = inputs[rows] + NOISE * policy.spread * torch.randn(BATCH, seen.shape[1])
            z = (noisy - policy.centre) / policy.spread
            loss = ((policy.net(z[:, ignored:]) - wanted[rows]) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return policy
