"""Does shaping leave the best policy alone? Thousands of random finite MDPs, the right form and every wrong one.

    python benchmarks/shaping_theory.py [--quick] [--figure=docs/assets/semantic_trap.png]

Each MDP has stochastic steps, success, failure, and a potential of the history: Φ(s, m) with a memory m that is the
running maximum of progress, or moves by a random automaton, or by chance (as when the model is swapped at some
moment). The learner sees (s, m) and is exact: policy iteration. A variant counts as wrong in an MDP when it prefers, in
some state that can be reached, an action that is not optimal for the unshaped reward. Prints a table and, as its last
line, one JSON object; the full run's is in `benchmarks/results/shaping_theory.json`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from provenance import provenance
from shaping_theory_figure import draw_trap

from progress_rm.shaping import Shaping

Floats = NDArray[np.float64]

GAMMA = 0.9
STATES, ACTIONS = 5, 3
TRUNCATION = 0.1
"""Probability that a time limit ends the episode after a step."""
TOLERANCE = 1e-7


@dataclass(frozen=True)
class Mdps:
    """N MDPs over X = states × memories.

    Attributes:
        steps: [N, A, X, X] probabilities of going on to another state; what is missing to 1 is the end of the task.
        success: [N, A, X] probability of ending in success, which pays 1; other ends are failures.
        reward: [N, A, X] expected reward of the task.
        potential: [N, X] Φ where the task goes on.
        success_potential, failure_potential: [N, X] Φ of what is seen at the end, by where it was reached from.
        start: [N, X] probabilities of beginning there.
        states: how many of them differ in what a memoryless critic sees; x = state · memories + memory.
    """

    steps: Floats
    success: Floats
    reward: Floats
    potential: Floats
    success_potential: Floats
    failure_potential: Floats
    start: Floats
    states: int

    @property
    def ended(self) -> Floats:
        """[N, A, X] probability that the task ends."""
        return 1 - self.steps.sum(-1)

    @property
    def failure(self) -> Floats:
        """[N, A, X] probability that it ends in failure."""
        return self.ended - self.success


def draw(count: int, memory: str, rng: np.random.Generator) -> Mdps:
    """Random MDPs.

    Args:
        count: N.
        memory: "maximum" (Φ is the running maximum of progress), "automaton" or "chance".
    """
    n, s, a = count, STATES, ACTIONS
    reach = rng.dirichlet(np.full(s + 2, 0.3), size=(n, a, s))
    # Some actions end nothing, or lingering would never be possible.
    harmless = rng.random((n, a, s)) < 0.6
    reach[..., s:] *= ~harmless[..., None]
    reach /= reach.sum(-1, keepdims=True)
    progress = rng.random((n, s))
    place = np.arange(s)
    if memory == "maximum":
        higher = progress[:, None, :] > progress[:, :, None]
        now = np.where(higher, place[None, None, :], place[None, :, None])
        remember = (now[..., None] == place).astype(float)
        potential = np.repeat(progress[:, None, :], s, axis=1)
        first = np.eye(s)[None].repeat(n, 0)
    else:
        shape = (n, s, s)
        remember = rng.dirichlet(np.full(s, 0.5), size=shape)
        if memory == "automaton":
            remember = np.eye(s)[rng.integers(s, size=shape)]
        potential = rng.random((n, s, s))
        first = np.eye(s)[rng.integers(s, size=(n, s))]
    steps = np.einsum("naij,nmjk->naimjk", reach[..., :s], remember).reshape(n, a, s * s, s * s)
    begins = rng.dirichlet(np.full(s, 0.5), size=n)
    success = reach[..., s].repeat(s, axis=-1)
    cost = 0.05 * rng.random((n, a, s)).repeat(s, axis=-1)
    flat = potential.reshape(n, s * s)
    return Mdps(
        steps=steps,
        success=success,
        reward=success - cost * (rng.random((n, 1, 1)) < 0.5),
        potential=flat,
        success_potential=np.ones_like(flat),
        failure_potential=flat,
        start=(begins[:, :, None] * first).reshape(n, s * s),
        states=s,
    )


def added(mdps: Mdps, shaping: Shaping) -> Floats:
    """[N, A, X] expected F of the formula in use."""
    before = mdps.potential[:, :, None]
    going_on = np.einsum(
        "naij,nij->nai", mdps.steps, shaping.extra(before, mdps.potential[:, None, :], False)
    )
    here = mdps.potential[:, None, :]
    won = shaping.extra(here, mdps.success_potential[:, None, :], True)
    lost = shaping.extra(here, mdps.failure_potential[:, None, :], True)
    return going_on + mdps.success * won + mdps.failure * lost


def solve(steps: Floats, reward: Floats, gamma: float) -> Floats:
    """Q* [N, A, X] by policy iteration."""
    n, _, x, _ = steps.shape
    rows = np.arange(n)[:, None]
    policy = np.zeros((n, x), dtype=int)
    for _ in range(100):
        chosen = steps[rows, policy, np.arange(x)]
        values = np.linalg.solve(np.eye(x) - gamma * chosen, reward[rows, policy, np.arange(x), None])[..., 0]
        q = reward + gamma * np.einsum("naij,nj->nai", steps, values)
        best = q.max(1)
        kept = q[rows, policy, np.arange(x)] >= best - 1e-12
        if kept.all():
            return q
        policy = np.where(kept, policy, q.argmax(1))
    raise RuntimeError("policy iteration did not converge")


def reachable(mdps: Mdps) -> NDArray[np.bool_]:
    """[N, X] which states an episode can come to."""
    seen = mdps.start > 0
    graph = (mdps.steps > 0).any(1)
    for _ in range(seen.shape[1]):
        seen = seen | np.einsum("ni,nij->nj", seen, graph).astype(bool)
    return seen


def wrong(preferred: Floats, true: Floats, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[N] whether some action that `preferred` [N, A, X] likes best loses by `true` [N, A, X], where `seen`."""
    liked = preferred >= preferred.max(1, keepdims=True) - 1e-10
    loses = true < true.max(1, keepdims=True) - TOLERANCE
    return np.asarray((liked & loses & seen[:, None, :]).any((1, 2)))


def of_states(mdps: Mdps, q: Floats) -> NDArray[np.bool_]:
    """[N] whether Q [N, A, X] as a learner's preference is wrong."""
    return wrong(q, solve(mdps.steps, mdps.reward, GAMMA), reachable(mdps))


# -- variants: each answers [N], whether the optimum changed --------------------------------------------------------


def formula(shaping: Shaping, bootstrap: float = GAMMA) -> Callable[[Mdps], NDArray[np.bool_]]:
    """The shipped formula with a critic that sees Φ."""

    def variant(mdps: Mdps) -> NDArray[np.bool_]:
        return of_states(mdps, solve(mdps.steps, mdps.reward + added(mdps, shaping), bootstrap))

    return variant


def at_the_end(potential: Callable[[Mdps], tuple[Floats, Floats]]) -> Callable[[Mdps], NDArray[np.bool_]]:
    """The formula, but with a Φ [N, 1 or X] of its own after success and after failure."""

    def variant(mdps: Mdps) -> NDArray[np.bool_]:
        won, lost = (kept[:, None, :] for kept in potential(mdps))
        extra = GAMMA * (mdps.success * won + mdps.failure * lost)
        reward = mdps.reward + added(mdps, Shaping(GAMMA)) + extra
        return of_states(mdps, solve(mdps.steps, reward, GAMMA))

    return variant


def first_potential(mdps: Mdps) -> tuple[Floats, Floats]:
    """Φ of the next episode's first observation, where "same step" autoreset puts it."""
    first = (mdps.start * mdps.potential).sum(1, keepdims=True)
    return first, first


def positive_only(mdps: Mdps) -> NDArray[np.bool_]:
    """max(F, 0)."""
    shaping, here = Shaping(GAMMA), mdps.potential[:, None, :]
    each = np.maximum(shaping.extra(mdps.potential[:, :, None], mdps.potential[:, None, :], False), 0)
    ended = np.maximum(shaping.extra(here, 0.0, True), 0)
    extra = np.einsum("naij,nij->nai", mdps.steps, each) + mdps.ended * ended
    return of_states(mdps, solve(mdps.steps, mdps.reward + extra, GAMMA))


def zero_at_truncation(mdps: Mdps) -> NDArray[np.bool_]:
    """Time limits bootstrap as they should, but Φ of the final observation is taken for 0."""
    going_on = np.einsum("naij,nj->nai", mdps.steps, mdps.potential)
    extra = added(mdps, Shaping(GAMMA)) - TRUNCATION * GAMMA * going_on
    return of_states(mdps, solve(mdps.steps, mdps.reward + extra, GAMMA))


def memoryless(mdps: Mdps) -> NDArray[np.bool_]:
    """A critic of the state alone: to it F is the mean over the memories that exploring at random comes with."""
    n, a, x, _ = mdps.steps.shape
    s = mdps.states
    exploring = mdps.steps.mean(1).transpose(0, 2, 1)
    visits = np.linalg.solve(np.eye(x) - GAMMA * exploring, mdps.start[..., None])[..., 0].reshape(n, s, -1)
    total = visits.sum(-1, keepdims=True)
    share = np.where(total > 0, visits / np.maximum(total, 1e-300), 1 / visits.shape[-1])
    shaped = (mdps.reward + added(mdps, Shaping(GAMMA))).reshape(n, a, s, -1)
    reward = np.einsum("nais,nis->nai", shaped, share)
    steps = mdps.steps.reshape(n, a, s, x // s, s, x // s)[:, :, :, 0].sum(-1)
    plain = mdps.reward.reshape(n, a, s, -1)[..., 0]
    seen = reachable(mdps).reshape(n, s, -1).any(-1)
    return wrong(solve(steps, reward, GAMMA), solve(steps, plain, GAMMA), seen)


def chunks(told: int) -> Callable[[Mdps], NDArray[np.bool_]]:
    """Two actions at a time, all pairs of them, while the formula is told that they are so many."""

    def variant(mdps: Mdps) -> NDArray[np.bool_]:
        n, a, x, _ = mdps.steps.shape
        both = np.einsum("naij,nbjk->nabik", mdps.steps, mdps.steps).reshape(n, a * a, x, x)
        later = np.einsum("naij,nbj->nabi", mdps.steps, mdps.reward)
        reward = (mdps.reward[:, :, None] + GAMMA * later).reshape(n, a * a, x)
        shaping, here = Shaping(GAMMA), mdps.potential[:, None, :]
        each = shaping.extra(mdps.potential[:, :, None], mdps.potential[:, None, :], False, steps=told)
        extra = np.einsum("naij,nij->nai", both, each) + (1 - both.sum(-1)) * shaping.extra(here, 0.0, True)
        true = solve(both, reward, GAMMA**2)
        return wrong(solve(both, reward + extra, GAMMA**2), true, reachable(mdps))

    return variant


VARIANTS: dict[str, Callable[[Mdps], NDArray[np.bool_]]] = {
    "policy-invariant": formula(Shaping(GAMMA)),
    "… scaled by 5": formula(Shaping(GAMMA, scale=5.0)),
    "… shifted by −1": formula(Shaping(GAMMA, shift=-1.0)),
    "… in chunks of two steps, γ²": chunks(2),
    "bootstrap discount kept at .7, not annealed to γ": formula(Shaping(GAMMA), bootstrap=0.7),
    "chunks of two steps, γ for γ²": chunks(1),
    "γ left out (plain difference)": formula(Shaping(GAMMA, mode="difference")),
    "terminal Φ kept": at_the_end(lambda mdps: (mdps.success_potential, mdps.failure_potential)),
    "Φ of the next episode (across an autoreset)": at_the_end(first_potential),
    "Φ zeroed at truncation (10 % a step)": zero_at_truncation,
    "positive part only": positive_only,
    "raw progress as reward": formula(Shaping(GAMMA, mode="additive")),
    "memoryless critic, Φ a running maximum": memoryless,
}
RIGHT = [name for name in VARIANTS if name == "policy-invariant" or name.startswith("…")]


def measure(count: int, seed: int = 0) -> dict[str, float]:
    """Share of MDPs in which each variant changes the optimum, a third of them of each kind of memory."""
    rng = np.random.default_rng(seed)
    kinds = {memory: draw(count // 3, memory, rng) for memory in ("maximum", "automaton", "chance")}
    return {
        name: float(
            np.mean(
                [
                    variant(mdps).mean()
                    for memory, mdps in kinds.items()
                    if variant is not memoryless or memory == "maximum"
                ]
            )
        )
        for name, variant in VARIANTS.items()
    }


# -- the semantic trap -----------------------------------------------------------------------------------------------


def trap(chance: float, mode: str, gamma: float = 0.97, stages: int = 8, high: float = 0.9) -> float:
    """How much more trying to finish pays than holding still forever, once the cube is held over the bin.

    A chain of `stages` steps leads to Φ = `high`. There one can hold still, or let go: that succeeds with probability
    `chance`, else the work begins anew.
    """
    x, hold, let_go = stages + 1, 0, 1
    steps = np.zeros((1, 2, x, x))
    steps[0, :, np.arange(stages), np.arange(1, x)] = 1
    steps[0, hold, stages, stages] = 1
    steps[0, let_go, stages, 0] = 1 - chance
    success = np.zeros((1, 2, x))
    success[0, let_go, stages] = chance
    potential = np.linspace(0, high, x)[None]
    mdps = Mdps(
        *(steps, success, success, potential, np.ones_like(potential), np.zeros_like(potential)),
        start=np.eye(x)[:1],
        states=x,
    )
    reward = success + added(mdps, Shaping(gamma, mode=mode))
    each = [solve(steps[:, [a]], reward[:, [a]], gamma)[0, 0, stages] for a in (hold, let_go)]
    return float(each[let_go] - each[hold])


MODES = ("sparse", "policy_invariant", "difference", "additive")


def main() -> None:
    """Measure, draw, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="300 MDPs: does it run?")
    parser.add_argument("--figure", type=Path, help="where to draw the semantic trap")
    options = parser.parse_args()
    source = provenance(__file__)
    count = 300 if options.quick else 6000
    shares = measure(count)
    if options.figure:
        chances = np.linspace(0.02, 1, 80)
        draw_trap(options.figure, chances, {mode: [trap(c, mode) for c in chances] for mode in MODES})
    for name, share in shares.items():
        print(f"| {name} | {share:.1%} |")
    trapped = {
        mode: max((c for c in np.linspace(0.02, 1, 99) if trap(c, mode) < 0), default=0.0) for mode in MODES
    }
    print(json.dumps({"optimum_changed": shares, "mdps": count, "trapped_below": trapped, **source}))


if __name__ == "__main__":
    main()
