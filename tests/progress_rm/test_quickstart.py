from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from progress_datasets.errors import UserError
from progress_rm import cli, quickstart
from progress_rm.option_fields import options_of
from progress_rm.quickstart import Config, run, steps

NUMBERS = {
    "mse": 0.1,
    "clock_mse": 0.2,
    "voc": 0.9,
    "tau_a": 0.8,
    "stage_accuracy": 0.7,
    "success_auroc": 0.6,
}


class Verbs:
    """Stands in for the verbs: notes the calls and makes their results; stops at `stop_at`, once."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.called: list[str] = []
        self.stop_at = stop_at

    def call(self, verb: str, arguments: Sequence[str]) -> None:
        if verb == self.stop_at:
            self.stop_at = None
            raise KeyboardInterrupt
        self.called.append(verb)
        options = dict(word.removeprefix("--").split("=", 1) for word in arguments)
        if verb == "collect":
            Path(options["output_dir"]).mkdir(parents=True)
        elif verb == "train":
            (Path(options["output_dir"])).mkdir()
            (Path(options["output_dir"]) / "training.json").write_text("{}")
        elif verb == "score":
            (Path(options["dataset.root"]) / "sarm_progress.parquet").write_text("")
        else:
            Path(options["output"]).write_text(json.dumps({"summary": NUMBERS}))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(output_dir=tmp_path / "out")


ALL = ["collect"] * 4 + ["train"] + ["score"] * 2 + ["evaluate", "report"]


def test_takes_every_step_and_ends_with_one_line_of_json(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verbs = Verbs()
    monkeypatch.setattr(quickstart, "call", verbs.call)
    run(config)
    assert verbs.called == ALL
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(summary) == ["seconds", *NUMBERS, "report"]
    assert {name: summary[name] for name in NUMBERS} == NUMBERS
    assert summary["report"] == str(config.output_dir / "report.html")


@pytest.mark.parametrize("stop_at", ["collect", "train", "score", "report"])
def test_goes_on_where_it_stopped(config: Config, monkeypatch: pytest.MonkeyPatch, stop_at: str) -> None:
    verbs = Verbs(stop_at)
    monkeypatch.setattr(quickstart, "call", verbs.call)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    run(config)
    assert verbs.called == ALL


def test_refuses_what_it_would_overwrite_or_mix(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickstart, "call", Verbs("train").call)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    with pytest.raises(UserError, match="other options"):
        run(Config(output_dir=config.output_dir, seed=1))
    run(config)
    with pytest.raises(UserError, match="finished quickstart"):
        run(config)
    other = config.output_dir.parent
    with pytest.raises(UserError, match="is no quickstart"):
        run(Config(output_dir=other))


def test_the_verbs_have_the_options_that_the_steps_give(config: Config) -> None:
    for step in steps(config):
        known = {option.name for option in options_of(cli._module(step.verb).Config, {})}
        given = {word.removeprefix("--").partition("=")[0] for word in step.arguments}
        assert given - known == set(), step.verb


def test_held_out_episodes_have_other_seeds(config: Config) -> None:
    seeds: dict[str, int] = {}
    for step in steps(config):
        if step.verb == "collect":
            options = dict(word.removeprefix("--").split("=", 1) for word in step.arguments)
            seeds[options["output_dir"]] = int(options["seed"])
    train = {seed for folder, seed in seeds.items() if "/train/" in folder}
    test = {seed for folder, seed in seeds.items() if "/test/" in folder}
    assert min(test) - max(train) > config.train_episodes


def test_the_whole_way_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    sizes = ["--train_episodes=4", "--test_episodes=4", "--image_size=32", "--steps=4", "--encoder_steps=2"]
    assert cli.main(["quickstart", f"--output_dir={out}", *sizes]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 < summary["mse"] < 1
    assert 0 < summary["clock_mse"] < 1
    assert all(summary[name] is not None for name in NUMBERS)
    page = Path(summary["report"]).read_text(encoding="utf-8")
    assert page.startswith("<!")
    assert cli.main(["quickstart", f"--output_dir={out}", *sizes]) == 2
    assert "finished quickstart" in capsys.readouterr().err
