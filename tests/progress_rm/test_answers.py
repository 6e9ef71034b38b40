"""From evidence to reported progress: completion, another task's video, calibration."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import pytest

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures
from progress_rm.labels import EpisodeLabels
from progress_rm.models import MultiviewSarmConfig
from progress_rm.models.base import TaskSpec
from progress_rm.models.calibration import (
    SuccessFit,
    fit_logistic,
    fit_success,
    logit,
    random_levels,
    settled,
)
from progress_rm.models.multiview_sarm.answers import Answers, StageEvidence

TASK = TaskSpec("do it", ["first", "second"], [0.25, 0.75], [1.0, 3.0], 4.0)


def evidence(stage: list[list[float]], within: float, done: float = 0.0, match: float = 1.0) -> StageEvidence:
    probs = np.array(stage, dtype=np.float64)
    return StageEvidence(
        log_stage=np.log(probs),
        within=np.full(probs.shape, within),
        spread=np.full(probs.shape, 0.05),
        done=np.full(len(probs), done),
        match=np.full(len(probs), match),
    )


@pytest.fixture
def answers() -> Answers:
    return Answers(MultiviewSarmConfig(tasks=[TASK, replace(TASK, instruction="other")]))


def test_without_a_filter_each_frame_is_the_formula(answers: Answers) -> None:
    track = answers.unfiltered(0, evidence([[0.5, 0.5]], within=0.4))
    assert track.progress[0] == pytest.approx(0.5 * 0.25 * 0.4 + 0.5 * (0.25 + 0.75 * 0.4), abs=1e-5)
    assert track.uncertainty[0] > 0.15


def test_complete_is_one_but_only_in_the_last_stage(answers: Answers) -> None:
    last = answers.unfiltered(0, evidence([[1e-9, 1.0]], within=0.9, done=1.0))
    assert last.progress[0] == pytest.approx(1, abs=1e-6)
    assert last.success[0] > 0.99
    first = answers.unfiltered(0, evidence([[1.0, 1e-9]], within=0.9, done=1.0))
    assert first.progress[0] < 0.3
    assert first.success[0] < 0.01


def test_another_tasks_video_is_no_progress(answers: Answers) -> None:
    track = answers.unfiltered(0, evidence([[1e-9, 1.0]], within=0.9, done=1.0, match=0.0))
    assert track.progress[0] == pytest.approx(0, abs=1e-6)
    assert track.success[0] < 0.01
    alone = Answers(MultiviewSarmConfig(tasks=[TASK]))
    assert alone.unfiltered(0, evidence([[1e-9, 1.0]], within=0.9, match=0.0)).progress[0] > 0.8


def test_steps_equal_a_track(answers: Answers) -> None:
    rng = np.random.default_rng(0)
    seen = evidence(rng.dirichlet([1, 1], size=30).tolist(), within=0.5, done=0.3)
    times = np.arange(30) / 10
    track, state = answers.track(0, seen, times), answers.start(0)
    for t in range(30):
        now = StageEvidence(*(getattr(seen, f.name)[t : t + 1] for f in fields(seen)))
        state, estimate = answers.step(0, state, now, 0.1 if t else 0.0)
        assert estimate.progress == pytest.approx(track.progress[t], abs=1e-6)
        assert estimate.success == pytest.approx(track.success[t], abs=1e-6)


def test_what_holds_persuades_more_than_what_flashes(answers: Answers) -> None:
    """The say on success is an exponential average of its logits over `success_s`; 0 takes each frame by itself."""
    seen = evidence([[1e-3, 1 - 1e-3]] * 20, within=0.9, done=0.01)
    held, flashed = seen.done.copy(), seen.done.copy()
    held[10:], flashed[19:] = 0.99, 0.99
    times = np.arange(20) / 10
    long, short = (answers.track(0, replace(seen, done=done), times).success for done in (held, flashed))
    assert long[-1] > 0.95 > 0.2 > short[-1] > short[-2]
    share = 1 - np.exp(-0.1 / answers.config.success_s)
    before, now = (logit(done * (1 - 1e-3)) for done in (0.01, 0.99))
    assert logit(short[-1]) == pytest.approx((1 - share) * before + share * now, abs=0.05)
    answers.config.success_s = 0.0
    long, short = (answers.track(0, replace(seen, done=done), times).success for done in (held, flashed))
    assert short[-1] == pytest.approx(long[-1])


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(UserError, match="success_s"):
        MultiviewSarmConfig(success_s=-0.1)


def test_it_is_calibrated_where_it_can_have_noticed() -> None:
    done, times = np.arange(10) >= 6, np.arange(10) / 10
    assert settled(done, times, 0.0).all()
    np.testing.assert_array_equal(np.flatnonzero(~settled(done, times, 0.15)), [6, 7])
    np.testing.assert_array_equal(np.flatnonzero(~settled(done, times, 9.0)), [6, 7, 8])
    assert settled(np.zeros(10, np.bool_), times, 9.0).all()


def labelled(stage: list[int], done: int) -> EpisodeFeatures:
    """An episode of which the last so many frames are complete."""
    count = len(stage)
    nothing = np.zeros(count, np.float32)
    labels = EpisodeLabels(nothing, np.array(stage), nothing, np.arange(count) >= count - done)
    return EpisodeFeatures("do it", np.arange(count) / 10, {}, None, labels, cast(Any, None))


def test_it_is_calibrated_where_an_episode_could_end() -> None:
    success, failure = labelled([0] * 20 + [1] * 20, done=8), labelled([0] * 10 + [1] * 10 + [0] * 10, done=0)
    said = np.random.default_rng(0).normal(size=70)

    def fitted(said: np.ndarray) -> SuccessFit:
        return fit_success(said, [success, failure], ["it", "it"])

    # What first stages say does not matter, but for the last frame of an episode.
    changed = said.copy()
    changed[np.r_[0:20, 40:50, 60:69]] -= 9
    assert fitted(changed) == fitted(said)
    for frame in (25, 35, 55, 69):
        changed = said.copy()
        changed[frame] += 3
        assert fitted(changed) != fitted(said)
    assert fit_success(said[40:], [failure], ["it"]) == SuccessFit()


def test_each_kind_of_task_has_its_own_level() -> None:
    success, failure = labelled([0] * 5 + [1] * 20, done=8), labelled([0] * 5 + [1] * 20, done=0)
    rng = np.random.default_rng(0)
    kinds, said = [], []
    for kind, level in (("loud", 3.0), ("soft", -3.0), ("unseen", 0.0)):
        for episode in (success, failure) * 5:
            if kind != "unseen" or episode is failure:
                kinds.append(kind)
                said.append(level + 0.5 * rng.normal(size=25) + np.where(episode.labels.done, 1.0, -1.0))
    episodes = [success, failure] * 10 + [failure] * 5
    fit = fit_success(np.concatenate(said), episodes, kinds)
    assert fit.levels == {"loud": pytest.approx(3, abs=0.3), "soft": pytest.approx(-3, abs=0.3)}
    for kind, level in (("loud", 3.0), ("soft", -3.0)):
        complete, unfinished = fit.probability(np.array([level + 1, level - 1]), kind)
        assert complete > 0.9 > 0.1 > unfinished
    # Nobody has seen that kind succeed: it is taken for an average one.
    assert fit.probability(np.array([1.0]), "unseen") == fit.probability(
        np.array([fit.levels["loud"] + 1]), "loud"
    )


def test_levels_are_drawn_together_as_far_as_they_may_be_chance() -> None:
    # By hand: within 6 / 3 = 2, spread 2 * (4 + 0 + 4) / 2 = 8, between (8 - 2) / 2 = 3, drawn to 6 / 8 of ±2.
    found = random_levels({"a": [1.0, 3.0], "b": [3.0, 5.0], "c": [5.0, 7.0]})
    assert found == {"a": pytest.approx(-1.5), "b": pytest.approx(0), "c": pytest.approx(1.5)}
    assert random_levels({"a": [0.0, 9.0], "b": [1.0, 10.0]}) == {}
    assert random_levels({"a": [0.0], "b": [10.0]}) == {}
    assert random_levels({"a": [0.0, 1.0]}) == {}


def test_logistic_fit_recovers_the_truth() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000) * 3
    y = rng.random(20_000) < 1 / (1 + np.exp(-(0.7 * x - 1.2)))
    scale, offset = fit_logistic(x, y)
    assert scale == pytest.approx(0.7, abs=0.05)
    # Where both kinds count alike, what is left of the offset is without the log odds of how common they are.
    assert offset == pytest.approx(-1.2 - np.log(y.mean() / (1 - y.mean())), abs=0.1)


def test_logistic_fit_survives_separable_data() -> None:
    x = np.concatenate([np.full(3000, -9.0), [1.0, 2.0, 3.0]])
    scale, offset = fit_logistic(x, x > 0)
    probability = 1 / (1 + np.exp(-(scale * x + offset)))
    assert np.isfinite([scale, offset]).all()
    assert probability[x > 0].min() > 0.5
    assert probability[x < 0].max() < 0.01
