from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.segments import Outcome, StageSegment
from progress_datasets.write import EpisodeData, write_dataset
from progress_rm.cases import Case, EpisodeCases
from progress_rm.cli import main
from progress_rm.evaluate import evaluate
from progress_rm.report import write_report
from progress_rm.report.choose import choose_episodes, worst_moments
from progress_rm.report.learning import learn_from
from progress_rm.report.pictures import film_episode
from progress_rm.scores import EpisodeScores, ScoredDataset, ScoredTask, write_scores
from progress_rm.weights import WeightOptions


def noisy(dataset: EpisodeDataset, path: Path) -> ScoredDataset:
    """The truth, but that one episode is far off at one frame."""
    episodes = {}
    for episode in range(dataset.num_episodes):
        progress = dataset.column("progress", episode).copy()
        if episode == 1:
            progress[7] = 1.0
        stage = np.where(progress < 0.5, "slide", "lift")
        episodes[episode] = EpisodeScores(progress, stage, np.full_like(progress, 0.05), progress)
    task = dataset.task(0)
    tasks = {task: ScoredTask(("slide", "lift"), (0.5, 0.5), 3.0)}
    write_scores(path, dataset, episodes, reward_model_path="some/model", tasks=tasks)
    return ScoredDataset.load(dataset, path)


@pytest.fixture(scope="module")
def scored(make_toy: Any, tmp_path_factory: pytest.TempPathFactory) -> ScoredDataset:
    root = tmp_path_factory.mktemp("report")
    return noisy(make_toy(root / "data", 4, video=True, task="</script><b>slide & lift"), root / "s.parquet")


@pytest.fixture(scope="module")
def page(scored: ScoredDataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "new" / "report.html"
    assert write_report(path, evaluate([scored]), [scored], title="Slides & lifts", episodes=2) == path
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text of scripts by id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.inside: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = str(dict(attrs).get("id", "code")) if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self.inside = None

    def handle_data(self, data: str) -> None:
        if self.inside is not None:
            self.scripts[self.inside] = self.scripts.get(self.inside, "") + data


def test_it_is_complete_in_itself(page: str) -> None:
    reader = Reader(page)
    for tag, attributes in reader.tags:
        for name in ("src", "href", "srcset", "poster", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(|sendBeacon", page)
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) == {"http://www.w3.org/2000/svg"}
    policy = next(a["content"] for t, a in reader.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_words_of_the_data_cannot_become_page(page: str) -> None:
    reader = Reader(page)
    assert "b" not in {tag for tag, _ in reader.tags}
    assert "<title>Slides &amp; lifts</title>" in page
    payload = json.loads(reader.scripts["data"])
    assert payload["episodes"][0]["task"] == "</script><b>slide & lift"


def test_curves_are_those_of_the_scores(page: str, scored: ScoredDataset) -> None:
    payload = json.loads(Reader(page).scripts["data"])
    shown = {episode["number"]: episode for episode in payload["episodes"]}
    assert set(shown) <= {0, 1, 2, 3}
    assert {1, 3} <= set(shown), "the worst of each quality is among the chosen"
    for number, episode in shown.items():
        answers = scored.scores.episodes[number]
        assert episode["length"] == scored.dataset.length(number)
        np.testing.assert_allclose(episode["predicted"], answers.progress, atol=1e-4)
        np.testing.assert_allclose(episode["truth"], scored.dataset.column("progress", number), atol=1e-4)
        assert set(episode["clocks"]) == {"clock_hindsight", "clock_causal"}
        runs = np.concatenate([np.full(to - start, k) for start, to, k in episode["stage"]])
        np.testing.assert_array_equal(np.array(["slide", "lift"])[runs], answers.stage)
    assert payload["metrics"]["summary"]["mse"] > 0


def test_the_worst_moment_comes_first_with_its_picture(page: str, scored: ScoredDataset) -> None:
    payload = json.loads(Reader(page).scripts["data"])
    worst = payload["moments"][0]
    episode = payload["episodes"][worst["episode"]]
    assert (episode["number"], worst["frame"]) == (1, 7)
    assert worst["error"] == pytest.approx(1 - scored.dataset.column("progress", 1)[7], abs=1e-3)
    assert base64.b64decode(worst["picture"].removeprefix("data:image/jpeg;base64,"))[:2] == b"\xff\xd8"


def test_every_episode_has_its_film(page: str) -> None:
    reader = Reader(page)
    payload = json.loads(reader.scripts["data"])
    for number, episode in enumerate(payload["episodes"]):
        mp4 = base64.b64decode(reader.scripts[f"film-{number}"])
        with av.open(io.BytesIO(mp4)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert sum(1 for _ in container.decode(stream)) == episode["length"]
        assert [view[0] for view in episode["film"]["views"]] == ["left", "right"]


def test_existing_report_is_kept(scored: ScoredDataset, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        write_report(path, evaluate([scored]), [scored])
    assert path.read_text() == "mine"


def test_command_line(toy: EpisodeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noisy(toy, tmp_path / "s.parquet")
    output = tmp_path / "r.html"
    command = ["report", f"--dataset.root={toy.root}", f"--scores=[{tmp_path / 's.parquet'}]"]
    assert main([*command, f"--output={output}", "--episodes=0"]) == 2
    assert "--episodes=0" in capsys.readouterr().err
    assert main([*command, f"--output={output}", "--episodes=1", "--title=Toy"]) == 0
    assert "<title>Toy</title>" in output.read_text(encoding="utf-8")
    assert main([*command, f"--output={output}"]) == 2


def gray(level: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.broadcast_to(level[:, None, None, None], (len(level), height, width, 3)).astype(np.uint8)


def test_film_shows_the_views_side_by_side_frame_by_frame(tmp_path: Path) -> None:
    level = np.arange(0, 240, 12)
    frames = {"small": gray(level, 24, 24), "wide": gray(255 - level, 24, 48)}
    frames["lost"] = gray(level, 24, 24)
    episodes = [
        EpisodeData("t", frames, segments=[StageSegment("a", 0, 20)]),
        EpisodeData("t", {k: frames[k] for k in ("small", "wide")}, segments=[StageSegment("a", 0, 20)]),
    ]
    dataset = write_dataset(tmp_path / "d", 10, episodes, video=False)
    film = film_episode(dataset, 1, stills=[3])
    assert [name for name, _, _ in film.views] == ["small", "wide"]
    assert film.width % 2 == 0
    assert film.height == 48
    with av.open(io.BytesIO(film.mp4)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for (_, left, width), values in zip(film.views, (level, 255 - level), strict=True):
        middle = np.array([p[24, left + width // 2].mean() for p in pictures])
        np.testing.assert_allclose(middle, values, atol=5)
    assert list(film.stills) == [3]


def case(task: str, quality: str, error: list[float]) -> EpisodeCases:
    size = np.asarray(error)
    model = Case(
        task, 1.0, size, None, size, np.zeros_like(size), np.zeros(len(size), np.int64), Outcome.SUCCESS
    )
    return EpisodeCases(0, 0, quality, ("a",), model, {})


def test_choice_spreads_from_best_to_worst() -> None:
    group = [case("t", "expert", [e]) for e in (0.5, 0.1, 0.4, 0.2, 0.3)]
    episodes = [case("t", "failing", [0.0]), *group]
    assert choose_episodes(episodes, 1) == [1, 0]
    assert choose_episodes(episodes, 3) == [1, 2, 5, 0]
    assert len(choose_episodes(episodes, 99)) == 6


def test_moments_are_apart_and_worst_first() -> None:
    episodes = [
        case("t", "expert", [0, 0.8, 0.9, 0.85, 0, 0, 0.3]),
        case("t", "expert", [0, 0, -0.95, 0]),
        case("t", "expert", [0, 0]),
    ]
    moments = worst_moments(episodes, count=9, apart_s=2)
    assert [(m.case, m.frame, round(m.error, 2)) for m in moments] == [
        (1, 2, -0.95),
        (0, 2, 0.9),
        (0, 6, 0.3),
    ]
    assert len(worst_moments(episodes, count=1)) == 1


def test_it_says_what_behaviour_cloning_would_learn(page: str) -> None:
    data = json.loads(Reader(page).scripts["data"])
    [found] = data["weights"]
    assert found["horizon"] == 10
    assert sum(found["histogram"]) == data["metrics"]["overall"]["frames"]
    assert found["per_quality"]["expert"]["episodes"] == 3
    # At 0.01 in a second nearly everything that moves on has full weight.
    assert "plain BC" in found["warnings"][0]
    for episode in data["episodes"]:
        runs = episode["weights"]
        assert runs[0][0] == 0
        assert runs[-1][1] == episode["length"]
        assert all(a[1] == b[0] and 0 <= a[2] <= 1 for a, b in pairwise(runs))


def test_weights_that_cannot_be_are_said_instead_of_shown(scored: ScoredDataset) -> None:
    still = {
        number: replace(answers, progress=np.full_like(answers.progress, 0.5))
        for number, answers in scored.scores.episodes.items()
    }
    [found] = learn_from([replace(scored, scores=replace(scored.scores, episodes=still))]).sets
    assert "no frame makes progress" in found["refused"]
    [moved] = learn_from([scored], WeightOptions(kappa_quantile=0.5), chunk=5).sets
    assert moved["horizon"] == 5
    assert moved["warnings"] == []
