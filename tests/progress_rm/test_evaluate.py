from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.segments import StageSegment
from progress_datasets.write import EpisodeData, write_dataset
from progress_rm.cases import causal_clock, hindsight_clock
from progress_rm.cli import call, main
from progress_rm.evaluate import SUMMARY, evaluate, format_table
from progress_rm.labels import stage_at
from progress_rm.metrics import METRICS
from progress_rm.scores import EpisodeScores, ScoredDataset, ScoredTask, Scores, read_scores, write_scores

TASK = "slide and lift"
Answer = Callable[[EpisodeDataset, int], np.ndarray]


def truth(dataset: EpisodeDataset, episode: int) -> np.ndarray:
    return dataset.column("progress", episode)


def clock(dataset: EpisodeDataset, episode: int) -> np.ndarray:
    return np.linspace(0, 1, dataset.length(episode))


def constant(dataset: EpisodeDataset, episode: int) -> np.ndarray:
    return np.full(dataset.length(episode), 0.5)


def score(
    dataset: EpisodeDataset, answer: Answer, length: float | None = 3.0, scheme: str = "duration_prior"
) -> ScoredDataset:
    """Scores whose success probability is their progress and whose stage follows from it."""
    tasks = {
        name: ScoredTask(dataset.stage_order(name), (0.5, 0.5), length)
        for name in {dataset.task(e) for e in range(dataset.num_episodes)}
    }
    episodes = {}
    for episode in range(dataset.num_episodes):
        progress = np.asarray(answer(dataset, episode), dtype=np.float32)
        stages = np.array(dataset.stage_order(dataset.task(episode)))
        episodes[episode] = EpisodeScores(
            progress, stages[stage_at(progress, (0.5, 0.5))], np.full_like(progress, 0.1), progress
        )
    return ScoredDataset(dataset, Scores("model", scheme, tasks, episodes))


def test_clocks_by_hand() -> None:
    np.testing.assert_allclose(hindsight_clock(5), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(hindsight_clock(1), [1])
    np.testing.assert_allclose(causal_clock(5, fps=10, mean_length_s=0.2), [0, 0.5, 1, 1, 1])


def test_stage_at_by_hand() -> None:
    assert stage_at(np.array([0, 0.19, 0.2, 0.69, 0.7, 1.0]), [0.2, 0.5, 0.3]).tolist() == [0, 0, 1, 1, 2, 2]


def test_truth_is_perfect(toy: EpisodeDataset) -> None:
    result = evaluate([score(toy, truth)])["overall"]["model"]
    assert result["mse"] == result["mae"] == 0
    assert result["tau_a"] == result["success_auroc"] == result["stage_accuracy"] == 1
    assert result["stage_boundary_f1"] == 1


def test_a_clock_as_model_is_the_clock(toy: EpisodeDataset) -> None:
    metrics = evaluate([score(toy, clock)])
    # The scores of a clock state an uncertainty, and were not asked about reversed videos.
    unlike = {"voc_reversed", "coverage_1sd", "coverage_2sd"}
    found, clocks = (
        {key: number for key, number in metrics["overall"][name].items() if key not in unlike}
        for name in ("model", "clock_hindsight")
    )
    assert found == pytest.approx(clocks, abs=1e-6)
    assert metrics["overall"]["model"]["voc"] == pytest.approx(1)
    assert metrics["overall"]["model"]["tau_a"] == 0
    assert metrics["overall"]["model"]["success_auroc"] == 0.5


def test_a_constant_knows_nothing(toy: EpisodeDataset) -> None:
    result = evaluate([score(toy, constant)])["overall"]["model"]
    assert result["voc"] == result["tau_a"] == 0
    assert result["success_auroc"] == result["failure_balanced_accuracy"] == 0.5


def test_groups_and_summary(toy: EpisodeDataset, make_toy, tmp_path: Path) -> None:
    other = make_toy(tmp_path / "other", 4, task="push", seed=7)
    metrics = evaluate([score(toy, truth), score(other, constant)])
    assert metrics["reference"] == "truth"
    assert list(metrics["per_quality"]) == ["expert", "failing"]
    assert set(metrics["per_task"]) == {TASK, "push"}
    assert metrics["overall"]["episodes"] == 12
    assert metrics["overall"]["frames"] == sum(
        d.length(e) for d in (toy, other) for e in range(d.num_episodes)
    )
    assert metrics["per_task"][TASK]["model"]["mse"] == 0
    assert metrics["per_task"]["push"]["model"]["mse"] > 0
    assert metrics["per_task"][TASK]["stages"] == ["slide", "lift"]
    confusion = np.array(metrics["per_task"]["push"]["confusion"])
    assert (confusion[:, 0] == 0).all()
    assert (confusion[:, 1] > 0).all()
    overall = metrics["overall"]
    assert metrics["summary"]["clock_mse"] == min(
        overall["clock_hindsight"]["mse"], overall["clock_causal"]["mse"]
    )
    assert set(metrics["summary"]) == set(metrics["summary_intervals"]) == {"clock_mse", *SUMMARY}
    assert set(overall["model"]) == {metric.key for metric in METRICS}
    # No episode of the failing quality succeeds, so it has no VOC and no AUROC of its own.
    assert metrics["per_quality"]["failing"]["model"]["voc"] is None
    assert metrics["per_quality"]["failing"]["model"]["success_auroc"] is None


def test_causal_clock_is_left_out_where_no_length_is_known(toy: EpisodeDataset) -> None:
    metrics = evaluate([score(toy, truth, length=None)])
    assert "clock_causal" not in metrics["overall"]
    assert any("causal clock is left out" in note for note in metrics["notes"])
    given_now = evaluate([score(toy, truth, length=None)], clock_length_seconds=3.0)
    assert given_now["overall"] == evaluate([score(toy, truth, length=3.0)])["overall"]


def test_intervals_hold_the_numbers(toy: EpisodeDataset) -> None:
    metrics = evaluate([score(toy, clock)])
    for group in (metrics["overall"], metrics["per_task"][TASK]):
        assert set(group["intervals"]) == {"model", "clock_hindsight", "clock_causal"}
        for predictor, intervals in group["intervals"].items():
            assert set(intervals) == {metric.key for metric in METRICS}
            for key, bounds in intervals.items():
                if bounds is not None and key != "starc":  # a resample sees fewer transitions
                    assert bounds[0] - 1e-9 <= group[predictor][key] <= bounds[1] + 1e-9, (predictor, key)
    low, high = metrics["summary_intervals"]["mse"]
    assert 0 < low < metrics["summary"]["mse"] < high
    assert metrics == evaluate([score(toy, clock)]), "the resamples are seeded"
    assert json.loads(json.dumps(metrics)) == metrics


def test_episodes_played_backwards(toy: EpisodeDataset) -> None:
    forwards = score(toy, truth)
    undone = score(toy, lambda dataset, episode: truth(dataset, episode)[::-1])
    metrics = evaluate([ScoredDataset(toy, forwards.scores, undone.scores)])
    assert metrics["summary"]["voc_reversed"] == pytest.approx(-metrics["summary"]["voc"])
    assert metrics["summary"]["voc_reversed"] < -0.95
    assert metrics["overall"]["clock_hindsight"]["voc_reversed"] == pytest.approx(1)
    assert not any("backwards" in note for note in metrics["notes"])
    without = evaluate([forwards])
    assert without["summary"]["voc_reversed"] is None
    assert any("backwards" in note for note in without["notes"])


def unannotated(root: Path, **columns: np.ndarray) -> EpisodeDataset:
    frames = {"front": np.zeros((4, 16, 16, 3), np.uint8)}
    return write_dataset(root, 10, [EpisodeData("wait", frames, extra=columns)], video=False)


def annotated(root: Path) -> EpisodeDataset:
    """Stages of 4 and 16 frames with a gap of one frame; no true progress."""
    frames = {"front": np.zeros((21, 16, 16, 3), np.uint8)}
    segments = [StageSegment("one", 0, 4), StageSegment("two", 5, 21)]
    return write_dataset(root, 10, [EpisodeData(TASK, frames, segments=segments)], video=False)


def test_labels_where_there_is_no_truth(tmp_path: Path) -> None:
    dataset = annotated(tmp_path / "data")
    metrics = evaluate([score(dataset, clock)])
    assert metrics["reference"] == "labels"
    assert "no true progress" in metrics["notes"][0]
    assert any("cannot be told from failure" in note for note in metrics["notes"])
    # Half of the progress lies in the first 4 frames: the clock is wrong, and the gap is no stage.
    assert metrics["overall"]["model"]["mse"] > 0.01
    assert np.sum(metrics["per_task"][TASK]["confusion"]) == 20


def test_one_dataset_without_truth_makes_labels_the_reference_of_all(
    toy: EpisodeDataset, tmp_path: Path
) -> None:
    frames = {"front": np.zeros((6, 16, 16, 3), np.uint8)}
    segments = [StageSegment("slide", 0, 3), StageSegment("lift", 3, 6)]
    other = write_dataset(tmp_path / "d", 10, [EpisodeData("x", frames, segments=segments)], video=False)
    assert evaluate([score(toy, truth), score(other, clock)])["reference"] == "labels"


def test_labels_of_remaining_time_are_read_as_progress(tmp_path: Path) -> None:
    dataset = annotated(tmp_path / "data")
    # A fifth of the time that counts is the first stage's; the frame between the stages is none of it.
    seconds = np.array([*range(5), *range(4, 19), 20]) / 20
    metrics = evaluate([score(dataset, lambda *_: seconds, scheme="remaining_time")])
    assert metrics["overall"]["model"]["mse"] == pytest.approx(0, abs=1e-9)


def test_nothing_to_measure_against(tmp_path: Path) -> None:
    dataset = unannotated(tmp_path / "data")
    scores = EpisodeScores(np.zeros(4, np.float32), np.array(["a"] * 4), np.zeros(4), np.zeros(4))
    tasks = {"wait": ScoredTask(("a",), (1.0,))}
    item = ScoredDataset(dataset, Scores("model", "clock", tasks, {0: scores}))
    with pytest.raises(UserError, match="neither a 'progress' column nor stage annotations"):
        evaluate([item])


def test_truth_without_stages(tmp_path: Path) -> None:
    dataset = unannotated(tmp_path / "data", progress=np.linspace(0, 1, 4, dtype=np.float32))
    zeros = np.zeros(4, np.float32)
    scores = EpisodeScores(zeros, np.array(["a"] * 4), zeros, zeros)
    item = ScoredDataset(dataset, Scores("model", "clock", {"wait": ScoredTask(("a",), (1.0,))}, {0: scores}))
    metrics = evaluate([item])
    assert metrics["overall"]["model"]["stage_accuracy"] is None
    assert metrics["per_quality"].keys() == {"unspecified"}
    assert any("no stage annotations" in note for note in metrics["notes"])


def test_damaged_truth_is_an_error(tmp_path: Path) -> None:
    dataset = unannotated(tmp_path / "data", progress=np.array([0, np.nan, 1, 1], np.float32))
    zeros = np.zeros(4, np.float32)
    scores = Scores(
        "m",
        "clock",
        {"wait": ScoredTask(("a",), (1.0,))},
        {0: EpisodeScores(zeros, np.array(["a"] * 4), zeros, zeros)},
    )
    with pytest.raises(UserError, match="'progress' is NaN"):
        evaluate([ScoredDataset(dataset, scores)])


def test_models_with_other_stages_do_not_mix(toy: EpisodeDataset) -> None:
    one = score(toy, truth)
    stages = ScoredTask(("lift", "slide"), (0.5, 0.5), 3.0)
    two = ScoredDataset(toy, Scores("m", "clock", {TASK: stages}, one.scores.episodes))
    with pytest.raises(UserError, match="score with one model"):
        evaluate([one, two])


def test_table_names_every_group(toy: EpisodeDataset) -> None:
    text = format_table(evaluate([score(toy, truth)]))
    for word in (
        "overall: 8 episodes",
        "Kendall τ-a ↑",
        "STARC distance ↓",
        "overall (8)",
        "expert (6)",
        "failing (2)",
        TASK,
        "clock t/T",
        "clock, causal",
        "Measured",
    ):
        assert word in text
    assert max(map(len, text.splitlines()[:-3])) < 170


def stored(dataset: EpisodeDataset, path: Path) -> Path:
    scores = score(dataset, truth).scores
    return write_scores(path, dataset, scores.episodes, reward_model_path="model", tasks=scores.tasks)


def test_command_line(toy: EpisodeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = stored(toy, tmp_path / "s.parquet"), tmp_path / "new" / "metrics.json"
    command = ["evaluate", f"--dataset.root={toy.root}", f"--scores=[{path}]", f"--output={output}"]
    assert main(command) == 0
    assert "overall" in capsys.readouterr().out
    assert json.loads(output.read_text())["summary"]["mse"] == 0
    assert [p.name for p in output.parent.iterdir()] == ["metrics.json"]
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "there are no scores; run progress-rm score"),
        (["--scores=[a,b]"], "names 2 files for 1 datasets"),
        (["--scores=[a]", "--model.path=b"], "exclude each other"),
    ],
)
def test_mistakes_on_the_command_line(
    toy: EpisodeDataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    command = ["evaluate", f"--dataset.root={toy.root}", f"--output={tmp_path / 'm.json'}", *options]
    assert main(command) == 2
    assert message in capsys.readouterr().err


def test_model_instead_of_scores(
    trained: Path, two_tasks: list[EpisodeDataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, output = two_tasks[0].root, tmp_path / "metrics.json"
    command = [f"--dataset.root={root}", f"--output={output}", f"--cache_dir={tmp_path / 'cache'}"]
    metrics = call("evaluate", [*command, f"--model.path={trained}"])
    kept = tmp_path / "metrics.scores" / f"0_{root.name}.parquet"
    backwards = kept.with_name(f"0_{root.name}.backwards.parquet")
    written = kept.stat().st_mtime_ns, backwards.stat().st_mtime_ns
    assert metrics["overall"]["model"]["voc_reversed"] is not None
    first, last = (read_scores(path, two_tasks[0]).episodes[0].progress for path in (kept, backwards))
    assert not np.array_equal(first, last)
    # Killed after scoring: the same command goes on with the scores that are there.
    output.unlink()
    assert call("evaluate", [*command, f"--model.path={trained}"]) == metrics
    assert (kept.stat().st_mtime_ns, backwards.stat().st_mtime_ns) == written
    output.unlink()
    assert main(["evaluate", *command, "--model.path=another"]) == 2
    assert "another model's scores" in capsys.readouterr().err
