"""RA-BC weights: how much behaviour cloning should learn from each frame (SARM, arXiv 2509.25358, eq. 8 and 9).

A frame t is worth the progress that the next Δ frames make, r̂ = φ(t+Δ) − φ(t), where Δ is the policy's action chunk:

    w = 1{r̂ > κ} + 1{0 ≤ r̂ ≤ κ} · clip((r̂ − (μ − 2σ)) / (4σ + ε), 0, 1)

with μ and σ over all frames. The episode's end cuts the last windows; what they gain is scaled to Δ frames, so that a
demonstration at an even speed keeps its weight to the last frame. LeRobot does not scale, and gives those frames 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

EPSILON = 1e-6
"""Keeps the formula finite where all frames gain alike; also how far rounding may move a gain."""

GATES = ("none", "recorded", "scored", "onward")


@dataclass
class WeightOptions:
    """How scores become weights."""

    kappa: float | None = None
    """Progress in a chunk from which a frame has full weight, such as 0.01 (the default where no quantile is given)."""
    kappa_quantile: float | None = None
    """The same as a quantile of all frames' progress in a chunk: 0.5 gives the better half full weight."""
    lower_bound: float = 0.0
    """Standard deviations of the scores' uncertainty that are taken off a chunk's progress."""
    gate: str = "none"
    """What counts: none (everything), recorded (episodes whose outcome is success), scored (those that the scores call
    one), or onward (those, and of others that came far the frames that lead on: giving up must not be learned)."""
    gate_success: float = 0.5
    """With gate=scored or onward: least probability of success at an episode's last frame."""
    gate_progress: float = 0.5
    """With gate=onward: least progress at a failed episode's last frame."""
    gate_to_come: float = 0.2
    """With gate=onward: least progress that a failed episode has yet to make after a frame that counts."""

    def __post_init__(self) -> None:
        if self.kappa is not None and self.kappa_quantile is not None:
            raise ValueError("kappa and kappa_quantile exclude each other; give one of them")
        if self.kappa_quantile is not None and not 0 <= self.kappa_quantile <= 1:
            raise ValueError(f"kappa_quantile={self.kappa_quantile} is no quantile; give 0 to 1")
        if self.kappa is not None and not 0 <= self.kappa <= 1:
            raise ValueError(f"kappa={self.kappa} is no progress; give 0 to 1")
        if not 0 <= self.lower_bound < float("inf"):
            raise ValueError(f"lower_bound={self.lower_bound} raises the bound; give 0 or more")
        if self.gate not in GATES:
            raise ValueError(f"gate={self.gate} is unknown; choose one of {', '.join(GATES)}")
        for name in ("gate_success", "gate_progress", "gate_to_come"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is out of range; give 0 to 1")


@dataclass(frozen=True)
class FrameScores:
    """What scores say of the N frames of a dataset, in its order.

    Attributes:
        progress: float32 [N], in [0, 1].
        uncertainty: float32 [N], standard deviations; None where the file has none, as LeRobot's.
        success: float32 [N], probabilities; None where the file has none.
        outcomes: [E] recorded outcomes of the episodes; None where there are none.
        starts, ends: int64 [E], first frame of each episode and the one after its last.
    """

    progress: NDArray[np.float32]
    uncertainty: NDArray[np.float32] | None
    success: NDArray[np.float32] | None
    outcomes: Sequence[str] | None
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


@dataclass(frozen=True)
class Weights:
    """RA-BC weights of the N frames of a dataset, in its order.

    Attributes:
        values: float32 [N], in [0, 1].
        gains: float32 [N], r̂: progress in the next chunk.
        horizon: Δ in frames.
        kappa: progress in a chunk from which the weight is full.
        starts, ends: int64 [E], first frame of each episode and the one after its last.
    """

    values: NDArray[np.float32]
    gains: NDArray[np.float32]
    horizon: int
    kappa: float
    starts: NDArray[np.int64] = field(repr=False)
    ends: NDArray[np.int64] = field(repr=False)

    def of(self, episode: int) -> NDArray[np.float32]:
        """float32 [T]: the weights of one episode."""
        return self.values[self.starts[episode] : self.ends[episode]]


def windows(starts: Ints, ends: Ints, horizon: int) -> tuple[Ints, Ints]:
    """First and last frame of the window that says what each of the N frames is worth, both int64 [N].

    Frame t's window is [t, t+Δ], cut at the episode's last frame. A window cut to less than Δ/2 begins earlier, so that
    scaling it to Δ frames at most doubles the noise of the scores.

    Args:
        starts, ends: [E] first frame of each episode and the one after its last, all frames in turn.
        horizon: Δ in frames, at least 1.
    """
    if horizon < 1:
        raise ValueError(f"a chunk has at least 1 frame, not {horizon}")
    lengths = np.asarray(ends) - np.asarray(starts)
    first, last = np.repeat(starts, lengths), np.repeat(np.asarray(ends) - 1, lengths)
    now = np.arange(len(last), dtype=np.int64)
    begin = np.minimum(now, np.maximum(last - -(-horizon // 2), first))
    return begin, np.minimum(now + horizon, last)


def chunk_gains(
    progress: Floats,
    starts: Ints,
    ends: Ints,
    horizon: int,
    uncertainty: Floats | None = None,
    lower_bound: float = 0.0,
) -> NDArray[np.float32]:
    """r̂, float32 [N]: the progress each frame's next Δ frames make, or its lower confidence bound.

    The bound takes off `lower_bound` standard deviations of the difference of two scores with independent errors. An
    episode of one frame gains 0.

    Args:
        progress: [N], in [0, 1].
        starts, ends: [E] first frame of each episode and the one after its last.
        horizon: Δ in frames.
        uncertainty: [N], standard deviations; needed for a bound.
        lower_bound: how many of them.
    """
    begin, end = windows(starts, ends, horizon)
    gain = progress[end] - progress[begin].astype(np.float64)
    if lower_bound:
        if uncertainty is None:
            raise ValueError("a lower bound needs uncertainties")
        gain -= lower_bound * np.hypot(uncertainty[end], uncertainty[begin].astype(np.float64))
    return np.asarray(gain * (horizon / np.maximum(end - begin, 1)), dtype=np.float32)


def weights_of(
    gains: Floats, kappa: float, mean: float | None = None, std: float | None = None
) -> NDArray[np.float32]:
    """w, float32 [N] in [0, 1], of gains [N].

    Args:
        kappa: gain above which the weight is full; above 0, a gain within rounding of it counts as above.
        mean, std: μ and σ; by default those of `gains`, the mean at least 0 as LeRobot has it.
    """
    r = np.asarray(gains, dtype=np.float64)
    mu = max(float(r.mean()), 0.0) if mean is None else mean
    sigma = float(r.std()) if std is None else std
    soft = np.clip((r - (mu - 2 * sigma)) / (4 * sigma + EPSILON), 0, 1)
    full = r > max(kappa - EPSILON, 0.0)
    return np.where(full, 1.0, np.where(r >= 0, soft, 0.0)).astype(np.float32)


def weigh(
    dataset: EpisodeDataset,
    horizon: int,
    options: WeightOptions | None = None,
    scores: Path | str | None = None,
) -> Weights:
    """Weights of all frames of a scored dataset.

    Args:
        dataset: scored by `progress-rm score` or LeRobot's script.
        horizon: Δ, the policy's action chunk, in frames.
        options: how.
        scores: parquet file of scores; by default `sarm_progress.parquet` in the dataset's folder.

    Raises:
        UserError: scores are missing or do not cover the dataset, lack what an option needs, or no frame is left.
    """
    from progress_rm.scores import DEFAULT_NAME

    path = Path(scores) if scores is not None else dataset.root / DEFAULT_NAME
    return weigh_scores(read_frame_scores(path, dataset), horizon, options or WeightOptions(), str(path))


def weigh_scores(
    scores: FrameScores, horizon: int, options: WeightOptions, where: str = "the scores"
) -> Weights:
    """As `weigh`, of scores in memory."""
    if options.lower_bound and scores.uncertainty is None:
        raise UserError(
            f"{where}: has no column 'uncertainty', which a lower bound needs; use progress-rm score"
        )
    starts, ends = scores.starts, scores.ends
    gains = chunk_gains(scores.progress, starts, ends, horizon, scores.uncertainty, options.lower_bound)
    counted = _gate(scores, options, where)
    if not counted.any():
        raise UserError(f"{where}: gate={options.gate} leaves nothing; choose another gate")
    kept = gains[counted]
    kappa = 0.01 if options.kappa is None else options.kappa
    if options.kappa_quantile is not None:
        kappa = max(float(np.quantile(kept, options.kappa_quantile)), 0.0)
    values = np.zeros(len(gains), np.float32)
    values[counted] = weights_of(kept, kappa)
    if not values.any():
        raise UserError(f"{where}: no frame makes progress, so there is nothing to learn from; look at them")
    return Weights(values, gains, horizon, kappa, starts, ends)


def read_frame_scores(path: Path, dataset: EpisodeDataset) -> FrameScores:
    """Scores of every frame of `dataset`, from our parquet or the one of LeRobot's script.

    Raises:
        UserError: the file is missing, is damaged, or does not say progress in [0, 1] of every frame.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UserError(f"{path}: there are no scores; run progress-rm score --dataset.root={dataset.root}")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not readable as parquet; score the dataset again") from error
    missing = [name for name in ("index", "progress_sparse") if name not in table.column_names]
    if missing:
        raise UserError(f"{path}: there is no column '{missing[0]}'; score the dataset again")
    index = table.column("index").to_numpy()
    order = np.argsort(index, kind="stable")
    rows = np.array(dataset.tables.rows, dtype=np.int64)
    if not np.array_equal(index[order], np.sort(dataset.tables.column("index"))):
        raise UserError(f"{path}: does not hold one score for every frame of {dataset.root}; score all of it")

    def column(name: str) -> NDArray[np.float32] | None:
        if name not in table.column_names:
            return None
        values = np.asarray(table.column(name).to_numpy(), dtype=np.float32)[order]
        # Written so that NaN fails, too.
        if not ((values >= 0) & (values <= 1)).all():
            raise UserError(f"{path}: {name} is missing or not in [0, 1] at some frame; score it again")
        return values

    progress = column("progress_sparse")
    assert progress is not None
    outcomes = dataset.episode_column("outcome") if dataset.has_episode_column("outcome") else None
    return FrameScores(progress, column("uncertainty"), column("success"), outcomes, rows[:, 0], rows[:, 1])


def _gate(scores: FrameScores, options: WeightOptions, where: str) -> NDArray[np.bool_]:
    """Which frames count, bool [N]."""
    lengths = scores.ends - scores.starts
    if options.gate == "none":
        return np.ones(lengths.sum(), dtype=bool)
    if options.gate == "recorded":
        if scores.outcomes is None:
            raise UserError(
                f"{where}: the episodes have no 'outcome', which gate=recorded needs; try gate=scored"
            )
        return np.repeat([outcome == "success" for outcome in scores.outcomes], lengths)
    if scores.success is None:
        raise UserError(
            f"{where}: has no column 'success', which gate={options.gate} needs; use progress-rm score"
        )
    good = scores.success[scores.ends - 1] >= options.gate_success
    if options.gate == "scored":
        return np.repeat(good, lengths)
    far = scores.progress[scores.ends - 1] >= options.gate_progress
    leads_on = _to_come(scores) >= options.gate_to_come
    return np.repeat(good, lengths) | (np.repeat(far, lengths) & leads_on)


def _to_come(scores: FrameScores) -> NDArray[np.float32]:
    """How much further than at each frame its episode still gets, float32 [N]."""
    best = [
        np.maximum.accumulate(scores.progress[start:end][::-1])[::-1]
        for start, end in zip(scores.starts, scores.ends, strict=True)
    ]
    return np.asarray(np.concatenate(best) - scores.progress, dtype=np.float32)
