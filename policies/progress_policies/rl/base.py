"""The base policy: what a few demonstrations did, imitated by a small network on numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MEMBERS = 3
"""Networks whose answers are averaged."""
STEPS = 1500
NOISE = 0.05
"""Standard deviation of the noise on inputs, in the demonstrations' own: few demonstrations cover few places."""


class BasePolicy(nn.Module):
    """Behaviour cloning of numbers: the mean of a few small networks.

    Args:
        inputs: D, length of an observation, without Φ.
        actions: A, length of an action.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.actions = actions
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        self.nets = nn.ModuleList(
            nn.Sequential(
                *(nn.Linear(inputs, 128), nn.LayerNorm(128), nn.ReLU()),
                *(nn.Linear(128, 128), nn.LayerNorm(128), nn.ReLU()),
                nn.Linear(128, actions),
            )
            for _ in range(MEMBERS)
        )

    def forward(self, seen: Tensor) -> Tensor:
        """Actions [B, A] in [−1, 1] for observations [B, D]."""
        inputs = ((seen - self.centre) / self.spread).clamp(-5, 5)
        return torch.stack([net(inputs) for net in self.nets]).mean(0).clamp(-1, 1)

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


def clone(seen: NDArray[np.float32], actions: NDArray[np.float32], seed: int) -> BasePolicy:
    """A base policy that does in `seen` [N, D] as `actions` [N, A] did."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = BasePolicy(seen.shape[1], actions.shape[1])
        inputs, wanted = torch.from_numpy(seen), torch.from_numpy(actions)
        policy.centre.copy_(inputs.mean(0))
        # What hardly moved in the demonstrations would tell every difference from them apart.
        policy.spread.copy_(inputs.std(0).clamp_min(0.1))
        optimizer = torch.optim.AdamW(policy.parameters(), 1e-3, weight_decay=1e-3, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        for _ in range(STEPS):
            rows = torch.randint(len(inputs), (64,))
            noisy = inputs[rows] + NOISE * policy.spread * torch.randn(64, seen.shape[1])
            z = (noisy - policy.centre) / policy.spread
            loss = sum(((net(z) - wanted[rows]) ** 2).mean() for net in policy.nets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return policy
