"""Causal Bayes filter over (stage, position in the stage), between per-frame evidence and reported progress.

A hidden Markov chain in continuous time. The task is a line of K·B positions, B to a stage; the hidden state is a
position and a *pace* (backwards, paused, slow, usual, fast). A pace moves the belief along the line; rare jumps to the
neighbouring stages' starts and to anywhere let it skip, repeat, undo or start midway. Evidence is tempered: frames
close in time see the same thing, so a second of video counts for a fixed amount, whatever the frame rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StageFilterConfig:
    """How freely the belief moves and how much it believes the evidence.

    Attributes:
        bins: positions in a stage.
        paces: speeds along the task in multiples of the demonstrated one; negative undoes work.
        pace_weights: how usual each pace is; the more even, the less of a clock the filter is.
        pace_seconds: mean time until the pace is drawn anew.
        evidence_rate: exponent of the evidence a second (1/12 a frame at 30 Hz).
        evidence_floor: share of a uniform distribution mixed into stage probabilities; bounds what one frame can say.
        first_weight: exponent of the first frame's evidence.
        jump_rate: jumps a second to any position at all.
        neighbour_rate: jumps a second to the start of a stage near by: again, back, or skipping ahead.
        start_weight: prior probability that an episode starts at the task's start; the rest is uniform.
        tau_std: smallest standard deviation of the evidence about the position inside a stage.
    """

    bins: int = 8
    paces: tuple[float, ...] = (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0)
    pace_weights: tuple[float, ...] = (0.05, 0.2, 0.2, 0.35, 0.12, 0.08)
    pace_seconds: float = 1.0
    evidence_rate: float = 2.5
    evidence_floor: float = 0.3
    first_weight: float = 0.3
    jump_rate: float = 0.0003
    neighbour_rate: float = 0.003
    start_weight: float = 0.8
    tau_std: float = 0.15


@dataclass(frozen=True)
class StageEstimate:
    """What the filter believes after one frame.

    Attributes:
        progress: mean, in [0, 1].
        std: standard deviation of progress, in [0, 0.5].
        stage_probs: [K] posterior of the stage; the last stage's includes "finished".
        finished: probability that the last stage is over.
    """

    progress: float
    std: float
    stage_probs: Array
    finished: float


@dataclass(frozen=True)
class StageEstimates:
    """`StageEstimate` for T frames: progress, std and finished [T], stage_probs [T, K]."""

    progress: Array
    std: Array
    stage_probs: Array
    finished: Array


@dataclass(frozen=True)
class FilterState:
    """Belief [paces, positions], summing to one; `None` before the first frame."""

    belief: Array | None = None


@dataclass(frozen=True)
class StageFilter:
    """Immutable; the belief lives in `FilterState`, so one filter serves any number of streams.

    Example:
        >>> stage_filter = StageFilter.fit([[2.0, 3.0], [4.0, 3.0]], priors=[0.5, 0.5])
        >>> state = stage_filter.start()
        >>> state, estimate = stage_filter.step(state, np.log([0.9, 0.1]), tau=[0.2, 0.5], dt=0.1)
        >>> estimate.progress < 0.5
        True

    Attributes:
        seconds: [K] mean duration of each stage in the demonstrations.
        priors: [K] share of the task that each stage is, summing to 1.
        done: whether evidence has a (K+1)-th entry, "the task is finished".
    """

    seconds: tuple[float, ...]
    priors: tuple[float, ...]
    done: bool = False
    config: StageFilterConfig = field(default_factory=StageFilterConfig)

    def __post_init__(self) -> None:
        if len(self.seconds) != len(self.priors) or not self.seconds:
            raise ValueError(
                f"{len(self.seconds)} durations and {len(self.priors)} priors; one of each a stage"
            )
        if not np.isclose(sum(self.priors), 1.0, atol=1e-4):
            raise ValueError(f"the priors sum to {sum(self.priors)}, not to 1")
        if min(self.seconds) <= 0:
            raise ValueError(f"a stage lasts {min(self.seconds)} seconds; durations are positive")
        object.__setattr__(self, "_steps", {})
        object.__setattr__(self, "_line", _Line.of(self))

    @classmethod
    def fit(
        cls,
        durations: Sequence[Sequence[float]],
        priors: ArrayLike,
        done: bool = False,
        config: StageFilterConfig | None = None,
    ) -> StageFilter:
        """Learn the weak prior on durations.

        Args:
            durations: for each of the K stages, or for each episode K values, the seconds it took; NaN where an episode
                lacks a stage. Shape [episodes, K].
            priors: [K] stage priors ᾱ.
            done: evidence will have a (K+1)-th class, "finished".
        """
        table = np.atleast_2d(np.asarray(durations, float))
        seconds = np.nanmedian(table, 0)
        return cls(
            tuple(map(float, seconds)),
            tuple(map(float, np.asarray(priors, float))),
            done,
            config or StageFilterConfig(),
        )

    def start(self) -> FilterState:
        """The state before an episode's first frame."""
        return FilterState()

    def step(
        self,
        state: FilterState,
        stage_log_probs: ArrayLike,
        tau: ArrayLike,
        dt: float,
        tau_std: ArrayLike = 0.0,
    ) -> tuple[FilterState, StageEstimate]:
        """One frame.

        Args:
            state: from `start` or the last `step`.
            stage_log_probs: [K] (or [K+1] with `done`) log probabilities, from a model trained on balanced stages.
            tau: [K] position inside each stage if it is that one, or one number for all; in [0, 1].
            dt: seconds since the last frame; ignored at the first.
            tau_std: standard deviation of `tau`, same shape; at least the config's is used.
        """
        evidence = self.evidence(stage_log_probs, tau, tau_std)
        line: _Line = self._line  # type: ignore[attr-defined]
        if state.belief is None:
            belief, weight = line.initial, self.config.first_weight
        else:
            ticks = _milliseconds(dt)
            move, mix, jump = self._transition(ticks)
            belief = np.matmul(state.belief[:, None], move)[:, 0]
            belief = mix.T @ belief @ jump
            weight = min(1.0, self.config.evidence_rate * ticks / 1000)
        belief = belief * np.exp(weight * (evidence - evidence.max()))
        belief = belief / belief.sum()
        return FilterState(belief), self._estimate(belief)

    def run(
        self, stage_log_probs: ArrayLike, tau: ArrayLike, dt: float, tau_std: ArrayLike = 0.0
    ) -> StageEstimates:
        """A whole episode: [T, K] log probabilities, `tau` and `tau_std` [T, K] or [T]; equals T calls of `step`."""
        log_probs = np.asarray(stage_log_probs, float)
        taus = np.asarray(tau, float)
        stds = np.broadcast_to(np.asarray(tau_std, float), taus.shape)
        state = self.start()
        rows = []
        for row, position, std in zip(log_probs, taus, stds, strict=True):
            state, estimate = self.step(state, row, position, dt, std)
            rows.append(estimate)
        return StageEstimates(
            np.array([e.progress for e in rows]),
            np.array([e.std for e in rows]),
            np.array([e.stage_probs for e in rows]).reshape(-1, len(self.priors)),
            np.array([e.finished for e in rows]),
        )

    def evidence(self, stage_log_probs: ArrayLike, tau: ArrayLike, tau_std: ArrayLike = 0.0) -> Array:
        """Log evidence [positions] of one frame, before tempering."""
        count, bins = len(self.priors), self.config.bins
        log_probs = np.asarray(stage_log_probs, float)
        if log_probs.shape != (count + self.done,):
            raise ValueError(
                f"stage_log_probs has shape {log_probs.shape}, this filter expects ({count + self.done},)"
            )
        probs = np.exp(log_probs - log_probs.max())
        floor = self.config.evidence_floor
        log_stage = np.log((1 - floor) * probs / probs.sum() + floor / len(probs))
        centre = (np.arange(bins) + 0.5) / bins
        std = np.maximum(np.broadcast_to(np.asarray(tau_std, float), (count,)), self.config.tau_std)
        gap = (centre - np.broadcast_to(np.asarray(tau, float), (count,))[:, None]) / std[:, None]
        log_bin = -0.5 * gap**2
        log_bin -= np.log(np.exp(log_bin).mean(1, keepdims=True))
        line = (log_stage[:count, None] + np.maximum(log_bin, -4.0)).ravel()
        return np.append(line, log_stage[count]) if self.done else line

    def to_dict(self) -> dict[str, object]:
        """Plain numbers, strings, lists: what `from_dict` takes, safe for JSON."""
        return {
            "seconds": list(self.seconds),
            "priors": list(self.priors),
            "done": self.done,
            "config": asdict(self.config),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StageFilter:
        """The inverse of `to_dict`."""
        config: dict[str, Any] = data["config"]
        config = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        return cls(
            tuple(data["seconds"]), tuple(data["priors"]), bool(data["done"]), StageFilterConfig(**config)
        )

    def _estimate(self, belief: Array) -> StageEstimate:
        line: _Line = self._line  # type: ignore[attr-defined]
        position = belief.sum(0)
        mean = float(position @ line.progress)
        variance = float(position @ line.progress**2) - mean**2
        count, bins = len(self.priors), self.config.bins
        stages = position[: count * bins].reshape(count, bins).sum(1)
        finished = float(position[-1])
        if self.done:
            stages[-1] += finished
        return StageEstimate(min(max(mean, 0.0), 1.0), float(np.sqrt(max(variance, 0.0))), stages, finished)

    def _transition(self, ticks: int) -> tuple[Array, Array, Array]:
        """(move [paces, S, S], pace mixing [paces, paces], jumps [S, S]) over so many milliseconds, cached."""
        steps: dict[int, tuple[Array, Array, Array]] = self._steps  # type: ignore[attr-defined]
        if ticks not in steps:
            if len(steps) > 256:
                steps.clear()
            steps[ticks] = self._line.transition(ticks / 1000)  # type: ignore[attr-defined]
        return steps[ticks]


def _milliseconds(dt: float) -> int:
    """At least one. The offset keeps the usual frame rates off the rounding's edge, so that 1/fps and a difference of
    time stamps give the same step."""
    if dt < 0:
        raise ValueError(f"dt is {dt} seconds; frames come in order of time")
    return max(1, int(dt * 1000 + 0.37))


@dataclass(frozen=True)
class _Line:
    """The positions and the generators of motion along them."""

    progress: Array
    initial: Array
    forward: Array
    backward: Array
    targets: Array
    config: StageFilterConfig

    @classmethod
    def of(cls, stage_filter: StageFilter) -> _Line:
        config, bins = stage_filter.config, stage_filter.config.bins
        priors = np.array(stage_filter.priors)
        count = len(priors)
        before = np.cumsum(priors) - priors
        within = (np.arange(bins) + 0.5) / bins
        progress = (before[:, None] + priors[:, None] * within).ravel()
        rates = np.repeat(bins / np.array(stage_filter.seconds), bins)
        if stage_filter.done:
            progress, rates = np.append(progress, 1.0), np.append(rates, rates[-1])
        size = len(progress)
        forward = np.diag(rates[:-1], 1)
        backward = np.diag(rates[1:], -1)
        for generator in (forward, backward):
            generator[np.diag_indices(size)] = -generator.sum(1)
        starts = np.arange(count) * bins
        stage = np.minimum(np.arange(size) // bins, count - 1)
        near = (np.abs(stage[:, None] - np.arange(count)[None]) <= 2).astype(float)
        targets = np.zeros((size, size))
        targets[:, starts] = config.neighbour_rate * near / near.sum(1, keepdims=True)
        targets += config.jump_rate / size
        prior = np.full(size, (1 - config.start_weight) / size)
        prior[0] += config.start_weight
        initial = np.outer(np.array(config.pace_weights) / sum(config.pace_weights), prior)
        return cls(progress, initial, forward, backward, targets, config)

    def transition(self, dt: float) -> tuple[Array, Array, Array]:
        paces, weights = self.config.paces, np.array(self.config.pace_weights)
        move = np.stack(
            [_exponential(abs(p) * dt * (self.forward if p > 0 else self.backward)) for p in paces]
        )
        keep = np.exp(-dt / self.config.pace_seconds)
        mix = keep * np.eye(len(paces)) + (1 - keep) * weights / weights.sum()
        rate = self.config.neighbour_rate + self.config.jump_rate
        jumped = 1 - np.exp(-rate * dt)
        jump = (
            (1 - jumped) * np.eye(len(self.progress)) + (jumped / rate) * self.targets
            if rate > 0
            else np.eye(len(self.progress))
        )
        return move, mix, jump


def _exponential(generator: Array) -> Array:
    """exp of a generator matrix; by squaring, then exact enough (Taylor of order 8 at norm 1/4)."""
    norm = float(np.abs(generator).sum(1).max())
    squarings = max(0, int(np.ceil(np.log2(max(norm, 1e-12) * 4))))
    small = generator / 2**squarings
    term = np.eye(len(generator))
    total = term.copy()
    for order in range(1, 9):
        term = term @ small / order
        total += term
    for _ in range(squarings):
        total = total @ total
    return np.maximum(total, 0.0)
