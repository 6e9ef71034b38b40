"""The learner: right targets, symmetric batches, and it learns."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from progress_policies.rl.replay import Arrays, Replay
from progress_policies.rl.rlpd import RECENT, Batch, Critics, Learner, LearnerOptions, spread
from progress_rm.shaping import Shaping

SMALL = LearnerOptions(hidden=32, critics=3, residual=[1.0], learning_rate=3e-3, temperature=0.01)


def episode(length: int, rollout: int, terminated: bool, good: bool = False) -> Arrays:
    """Columns whose numbers tell where they come from."""
    rng = np.random.default_rng(rollout + 100)
    progress = rng.random(length + 1).astype(np.float32)
    place = 100.0 * rollout + np.arange(length + 1)
    return {
        "seen": place[:-1, None].repeat(2, 1),
        "later": place[1:, None].repeat(2, 1),
        "base": np.zeros((length, 1)),
        "later_base": np.ones((length, 1)),
        "action": np.full((length, 1), 0.5),
        "reward": rng.random(length),
        "before": progress[:-1],
        "after": progress[1:],
        "before_sd": np.zeros(length),
        "after_sd": np.zeros(length),
        "terminated": (np.arange(length) == length - 1) & terminated,
        "good": np.full(length, good),
        "online": np.full(length, rollout >= 0),
        "rollout": np.full(length, rollout),
    }


@pytest.fixture
def replay() -> Replay:
    found = Replay(2, 1)
    found.add(episode(6, -1, terminated=True, good=True))
    found.add(episode(5, 0, terminated=False))
    found.add(episode(4, 1, terminated=True))
    return found


@pytest.mark.parametrize("mode", ["policy_invariant", "difference", "sparse"])
@pytest.mark.parametrize("bootstrap", [0.9, 0.5])
def test_n_step_targets_stop_at_the_end_of_an_episode(replay: Replay, mode: str, bootstrap: float) -> None:
    shaping = Shaping(0.9, mode=mode, scale=2.0)
    batch = replay.draw(np.random.default_rng(0), 400, 3, shaping, bootstrap)
    column = replay.columns
    for seen, total, later, discount in zip(
        batch.seen, batch.reward, batch.later, batch.discount, strict=True
    ):
        row = int(np.flatnonzero(column["seen"][:, 0] == seen[0].item())[0])
        wanted, weight = 0.0, 1.0
        for _ in range(3):
            phi, then = 2 * column["before"][row], 2 * column["after"][row]
            ended = column["terminated"][row]
            wanted += weight * float(shaping.reward(column["reward"][row], phi, then, ended))
            weight *= bootstrap
            if column["last"][row]:
                break
            row += 1
        else:
            row -= 1
        assert total.item() == pytest.approx(wanted, abs=1e-5)
        assert later[0].item() == column["later"][row, 0]
        assert later[-1].item() == pytest.approx(2 * column["after"][row])
        assert discount.item() == pytest.approx(0 if column["terminated"][row] else weight, abs=1e-6)
    # Cut short by a time limit, an episode bootstraps.
    assert {later[0].item() for later in batch.later[batch.discount == 0]} <= {-94.0, 104.0}
    assert 5.0 in batch.later[batch.discount > 0][:, 0].tolist()


def test_policy_invariant_n_step_rewards_telescope(replay: Replay) -> None:
    shaped = replay.draw(np.random.default_rng(1), 50, 3, Shaping(0.9), 0.9)
    plain = replay.draw(np.random.default_rng(1), 50, 3, Shaping(0.9, mode="sparse"), 0.9)
    wanted = shaped.discount * shaped.later[:, -1] - shaped.seen[:, -1]
    assert torch.allclose(shaped.reward - plain.reward, wanted, atol=1e-6)


def test_half_of_a_batch_is_good(replay: Replay) -> None:
    batch = replay.draw(np.random.default_rng(0), 64, 1, Shaping(0.9), 0.9)
    assert (batch.seen[:, 0] < 0).sum() == 32
    alone = Replay(2, 1)
    alone.add(episode(6, 0, terminated=False))
    assert len(alone.draw(np.random.default_rng(0), 10, 1, Shaping(0.9), 0.9).reward) == 10


def test_saving_appends_and_a_checkpoint_counts(replay: Replay, tmp_path: Path) -> None:
    replay.save(tmp_path / "buffer.zarr")
    rows = len(replay)
    replay.add(episode(3, 2, terminated=True))
    replay.save(tmp_path / "buffer.zarr")
    again = Replay(2, 1)
    again.load(tmp_path / "buffer.zarr", rows)
    for name, values in again.columns.items():
        assert np.array_equal(values, replay.columns[name][:rows])
        assert values.dtype == replay.columns[name].dtype
    again.add(episode(7, 3, terminated=True))
    again.save(tmp_path / "buffer.zarr")
    third = Replay(2, 1)
    third.load(tmp_path / "buffer.zarr", len(again))
    assert np.array_equal(third.columns["rollout"], again.columns["rollout"])


def test_relabelling_wants_an_answer_for_every_observation(replay: Replay) -> None:
    with pytest.raises(ValueError, match="4 transitions, so 5 answers"):
        replay.relabel(1, np.zeros(4), np.zeros(4))


def test_an_ensemble_is_independent_members() -> None:
    torch.manual_seed(0)
    critics = Critics(3, 5, 8)
    seen, action = torch.randn(7, 3), torch.randn(7, 2)
    whole = critics(seen, action)
    assert whole.shape == (3, 7)
    first, last = critics.layers
    with torch.no_grad():
        first.weight[1].normal_()
        last.weight[1].normal_()
    changed = critics(seen, action)
    assert torch.equal(whole[[0, 2]], changed[[0, 2]])
    assert not torch.allclose(whole[1], changed[1])


def test_the_actor_begins_as_the_base_policy_and_does_not_see_the_potential() -> None:
    learner = Learner(4, 2, SMALL, seed=0)
    seen, base = torch.randn(6, 3), torch.rand(6, 2) - 0.5
    assert torch.allclose(learner.act(seen, base, explore=False), base, atol=0.02)
    assert not torch.allclose(learner.act(seen, base, explore=True), base, atol=0.02)


def test_it_learns_a_one_step_task() -> None:
    """Reward −(a − s)²: the best action is the state, far from the base policy's 0."""
    learner, rng = Learner(2, 1, SMALL, seed=0), np.random.default_rng(0)
    for _ in range(400):
        state = rng.uniform(-0.8, 0.8, (64, 1)).astype(np.float32)
        action = rng.uniform(-1, 1, (64, 1)).astype(np.float32)
        seen = torch.from_numpy(np.concatenate([state, np.zeros_like(state)], 1))
        reward = torch.from_numpy(-((action - state) ** 2)[:, 0])
        zeros = torch.zeros(64, 1)
        batch = Batch(seen, zeros, torch.from_numpy(action), reward, seen, zeros, torch.zeros(64))
        learner.update_critics(batch)
        learner.update_actor(batch)
    states = torch.linspace(-0.6, 0.6, 7)[:, None]
    assert torch.allclose(learner.act(states, torch.zeros(7, 1), explore=False), states, atol=0.2)


def test_where_critics_promise_nothing_the_actor_returns_to_the_base_policy() -> None:
    learner = Learner(4, 2, dataclasses.replace(SMALL, anchor=0.1), seed=0)
    with torch.no_grad():
        learner.critics.last.zero_()
        learner.actor.head.bias[:2] = 1.0
    seen, base = torch.randn(16, 4), torch.rand(16, 2) - 0.5
    batch = Batch(seen, base, base, torch.zeros(16), seen, base, torch.zeros(16))
    away = [learner.actor(seen[:, :-1], base, None)[0] - base]
    for _ in range(60):
        learner.update_actor(batch)
    away.append(learner.actor(seen[:, :-1], base, None)[0] - base)
    assert away[0].abs().mean() > 0.5
    assert away[1].abs().mean() < 0.1


def test_what_is_deployed_is_an_average_of_recent_actors() -> None:
    learner = Learner(2, 1, SMALL, seed=0)
    seen = torch.randn(4, 2)
    batch = Batch(
        seen, torch.zeros(4, 1), torch.zeros(4, 1), torch.ones(4), seen, torch.zeros(4, 1), torch.ones(4)
    )
    lived = []
    for _ in range(30):
        learner.update_actor(batch)
        lived.append(learner.actor.head.bias.detach().clone())
    # Weight of update t of n: proportional to (t + 1)(t + 2)…(t + RECENT), so the first counts next to nothing.
    weights = torch.tensor([math.prod(range(t + 1, t + 1 + RECENT)) for t in range(30)], dtype=torch.float64)
    expected = (weights[:, None] / weights.sum() * torch.stack(lived).double()).sum(0)
    torch.testing.assert_close(learner.average.head.bias.double(), expected, atol=1e-5, rtol=1e-4)
    there, none = seen[:, :1], torch.zeros(4, 1)
    assert torch.equal(learner.act(there, none, explore=False), learner.average(there, none, None)[0])


def test_targets_have_no_entropy_and_stop_at_the_end() -> None:
    learner = Learner(3, 1, SMALL, seed=0)
    ones = torch.ones(8)
    seen, later = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
    batch = Batch(seen, torch.zeros(8, 1), torch.zeros(8, 1), 2 * ones, later, torch.zeros(8, 1), 0 * ones)
    for _ in range(300):
        learner.update_critics(batch)
    assert learner.critics(batch.seen, batch.action).detach().numpy() == pytest.approx(2.0, abs=0.05)


def test_one_reach_holds_for_all_entries() -> None:
    assert spread([0.5], 3) == [0.5, 0.5, 0.5]
    assert spread([0.5, 1.0], 2) == [0.5, 1.0]
