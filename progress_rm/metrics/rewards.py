"""How far the learned reward is from the simulator's, as rewards: EPIC and STARC distances.

Both ignore what cannot change which policy is best: positive scale and potential shaping. So the reward to compare must
not be the shaping reward γφ(s′) − φ(s) nor the plain difference φ(s′) − φ(s), which is the same with γ = 1: shaping is
all they are, canonicalisation leaves nothing of either, and any two models, a clock and noise among them, would be at
distance 0. Compared is the reward that pays for progress reached, R(s, a, s′) = φ(s′), learned against true: what an
agent gets that is rewarded with the progress itself. A distance of 0 says that it may be optimised in place of the
truth.

Trajectories come without a model of the world, so expectations are over what the evaluation's episodes did.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from progress_rm.metrics.arrays import Array, number, ratio

GAMMA = 0.95
"""Discount a step of `STEP_S`: a horizon of about ten seconds."""

STEP_S = 0.5
BINS = 20
STATES = BINS + 1
"""States of the table: `BINS` shares of the task, and the task complete."""


def epic_distance(
    learned: ArrayLike, true: ArrayLike, states: ArrayLike, coverage: ArrayLike, gamma: float
) -> float:
    """EPIC distance between two rewards of a table, in [0, 1] (Gleave et al. 2021, arXiv 2006.13900).

    √((1 − ρ)/2) with ρ Pearson's correlation of the canonicalised rewards over `coverage`; a reward that canonicalises
    to a constant correlates with nothing, ρ = 0.

    Args:
        learned, true: [S, S], reward of going from state s (row) to s′.
        states: [S], distribution of states; s, and s′ independently, are drawn from it to canonicalise.
        coverage: [S, S], weights of the transitions over which rewards are correlated.
        gamma: discount, in [0, 1].
    """
    weights = np.asarray(coverage, dtype=np.float64)
    one, other = (canonical_epic(reward, states, gamma) for reward in (learned, true))
    return float(pearson_distance_of_sums(pearson_sums(one, other, weights)[None])[0])


def canonical_epic(reward: ArrayLike, states: ArrayLike, gamma: float) -> Array:
    """R(s, s′) + γ E[R(s′, S′)] − E[R(s, S′)] − γ E[R(S, S′)], with S and S′ drawn from `states`: [S, S]."""
    r, d = np.asarray(reward, dtype=np.float64), np.asarray(states, dtype=np.float64)
    onward = r @ d
    return r + gamma * onward[None, :] - onward[:, None] - gamma * float(d @ onward)


def progress_epic_sums(predicted: ArrayLike, truth: ArrayLike) -> Array:
    """Sums of one episode for the EPIC distance between rewards φ(s′), predicted against true: [6].

    For R(s, a, s′) = φ(s′) the canonicalised reward is φ(s′) − E[φ], whatever γ and the distribution of states: the
    terms E[R(s′, S′)] and E[R(s, S′)] are the same constant. So the distance is exactly Pearson's, of the progress at
    the frames arrived at, and needs no table.

    Args:
        predicted: [T], predicted progress.
        truth: [T], true progress.
    """
    p, t = np.asarray(predicted, dtype=np.float64)[1:], np.asarray(truth, dtype=np.float64)[1:]
    return pearson_sums(p, t, np.ones_like(p))


def pearson_sums(x: Array, y: Array, weights: Array) -> Array:
    """Σw, Σwx, Σwy, Σwx², Σwy², Σwxy: [6]."""
    return np.array([(weights * v).sum() for v in (np.ones_like(x), x, y, x * x, y * y, x * y)])


def pearson_distance_of_sums(sums: Array) -> Array:
    """√((1 − ρ)/2) of `pearson_sums` [B, 6]: [B], in [0, 1], NaN where the second has no spread."""
    n, x, y, xx, yy, xy = sums.T
    x, y, xx, yy, xy = (ratio(total, n) for total in (x, y, xx, yy, xy))
    spread_x, spread_y = xx - x * x, yy - y * y
    # Below this a spread is what rounding left of a constant.
    known = (spread_x > 1e-12) & (spread_y > 1e-12)
    rho = ratio(xy - x * y, np.sqrt(np.where(known, spread_x * spread_y, 0)), otherwise=0)
    return np.where(spread_y > 1e-12, np.sqrt((1 - np.clip(rho, -1, 1)) / 2), np.nan)


def starc_distance(learned: ArrayLike, true: ArrayLike, visits: ArrayLike, gamma: float) -> float | None:
    """A STARC distance between two rewards of a table, in [0, 1] (Skalse et al. 2024, arXiv 2309.15257).

    Half the distance ‖R̃₁ − R̃₂‖ of the standardised rewards R̃ = c(R) / ‖c(R)‖, with c the value-adjusted levelling of
    `canonical_starc` and ‖·‖ the root of the mean square over `visits`. A reward that canonicalises to zero stays zero,
    which is ½ from any other; opposite rewards are at 1.

    Args:
        learned, true: [S, S], reward of going from state s (row) to s′.
        visits: [S, S], how often that was seen.
        gamma: discount, in [0, 1).

    Returns:
        None where the true reward canonicalises to zero.
    """
    one, other, seen = (np.asarray(x, dtype=np.float64)[None] for x in (learned, true, visits))
    return number(_starc(one, other, seen, gamma))


def canonical_starc(reward: ArrayLike, visits: ArrayLike, gamma: float) -> Array:
    """Value-adjusted levelling, R(s, s′) − V(s) + γV(s′): the advantage of each transition, [S, S].

    V is the value of the policy that the visits show, solved exactly; which transition is taken stands for the action,
    so that the next state is certain. Adding γΦ(s′) − Φ(s) to R lowers V by Φ and changes nothing. Transitions never
    seen are 0.

    Args:
        reward: [S, S].
        visits: [S, S].
        gamma: discount, in [0, 1).
    """
    r, n = np.asarray(reward, dtype=np.float64), np.asarray(visits, dtype=np.float64)
    return np.asarray(_levelled(r[None, None], n[None], gamma)[0, 0])


def _levelled(rewards: Array, visits: Array, gamma: float) -> Array:
    """`canonical_starc` of R rewards in each of B tables: rewards [B, R, S, S], visits [B, S, S]."""
    chance = ratio(visits, visits.sum(-1, keepdims=True), 0)
    expected = np.einsum("bst,brst->bsr", chance, rewards)
    value = np.linalg.solve(np.eye(visits.shape[-1]) - gamma * chance, expected).swapaxes(1, 2)
    levelled = rewards - value[..., None] + gamma * value[:, :, None, :]
    return np.where(visits[:, None] > 0, levelled, 0)


def transition_sums(predicted: ArrayLike, truth: ArrayLike, fps: float) -> Array:
    """One episode as transitions of a table, for the STARC distance: flattened [3 · STATES · STATES].

    Every frame of a trajectory is a state of its own with one way on, and where there is no choice all rewards are
    equivalent. So the state is the true progress, in `BINS` equal shares with completion apart, at every `STEP_S`
    seconds; an episode's last state is followed by itself.

    Args:
        predicted: [T], predicted progress.
        truth: [T], true progress, in [0, 1].
        fps: frames per second.

    Returns:
        By (s, s′): visits, and sums of predicted and of true progress arrived at.
    """
    step = max(1, round(STEP_S * fps))
    # From the end, so that the final frame is among them.
    p, t = (np.asarray(x, dtype=np.float64)[::-1][::step][::-1] for x in (predicted, truth))
    # Twentieths are not exact in binary: .15 · 20 is 3, not 2.
    state = np.clip(np.floor(t * BINS + 1e-6).astype(np.int64), 0, BINS)
    place = state * STATES + np.append(state[1:], state[-1])
    arrived = (np.append(x[1:], x[-1]) for x in (p, t))
    cells = STATES * STATES
    return np.concatenate([np.bincount(place, w, minlength=cells) for w in (np.ones_like(t), *arrived)])


def starc_of_sums(sums: Array) -> Array:
    """`starc_distance` of sums of `transition_sums`, [B, 3 · STATES · STATES]: [B], NaN where it is not defined."""
    visits, predicted, true = sums.reshape(-1, 3, STATES, STATES).swapaxes(0, 1)
    return _starc(ratio(predicted, visits, 0), ratio(true, visits, 0), visits, GAMMA)


def _starc(learned: Array, true: Array, visits: Array, gamma: float) -> Array:
    share = ratio(visits, visits.sum((1, 2), keepdims=True), 0)[:, None]
    levelled = _levelled(np.stack([learned, true], axis=1), visits, gamma)
    size = np.sqrt((share * levelled**2).sum((2, 3), keepdims=True))
    # Below this a size is what rounding left of zero.
    standard = levelled / np.where(size > 1e-9, size, np.inf)
    distance = np.sqrt((share[:, 0] * (standard[:, 0] - standard[:, 1]) ** 2).sum((1, 2))) / 2
    return np.where(size[:, 1, 0, 0] > 1e-9, distance, np.nan)
