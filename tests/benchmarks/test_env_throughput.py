"""The throughput benchmark: what it makes of the workers' answers, and our own side run briefly."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from progress_envs.render import choose_backend

Load = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def bench(load: Load) -> ModuleType:
    return load("env_throughput")


@pytest.fixture(scope="module")
def worker(load: Load) -> ModuleType:
    return load("env_throughput_peer")


def answer(*rates: float, overhead: float = 0.1) -> dict[str, Any]:
    times = {"physics_ms": 1.0, "render_ms": 2.0, "rest_ms": 0.5}
    own = [2 * rate for rate in rates]
    return {"steps_per_s": list(rates), "steps_per_cpu_s": own, "overhead_fraction": overhead, **times}


def test_rounds_become_a_median_and_a_spread(bench: ModuleType) -> None:
    both = bench.combine([answer(10, 30, overhead=0.1), answer(20, 90, overhead=0.3)])
    assert (both["steps_per_s"], both["slowest"], both["fastest"], both["repeats"]) == (25, 10, 90, 4)
    assert both["overhead_fraction"] == pytest.approx(0.2)
    assert bench.combine([answer(1), {"error": "gone"}]) == {"error": "gone"}


def test_the_fastest_peer_counts_and_a_failed_one_is_told(bench: ModuleType) -> None:
    sides = {(side, "default"): bench.combine([answer(90, 100, 110, overhead=0.05)]) for side in bench.OURS}
    sides[bench.OURS[-1], "default"]["overhead_fraction"] = 0.14
    sides["gym-hil", "default"] = bench.combine([answer(5)])
    sides["metaworld", "default"] = bench.combine([answer(8, 10, 12)])
    sides["gym-hil", "tuned"] = bench.combine([answer(25)])
    sides["metaworld", "tuned"] = {"error": "no wheel"}
    summary = bench.summarise(sides)
    assert (summary["steps_per_s"], summary["frames_per_s"]) == (100, 200)
    assert (summary["best_peer_default"], summary["vs_best_peer_default"]) == ("metaworld", 10)
    assert summary["vs_best_peer_default_worst"] == pytest.approx(90 / 12)
    assert summary["vs_best_peer_default_cpu"] == 10
    assert (summary["best_peer_tuned"], summary["vs_best_peer_tuned"]) == ("gym-hil", 4)
    assert summary["overhead_fraction"] == 0.14
    assert summary["errors"] == {"metaworld, tuned": "no wheel"}
    assert "no wheel" in bench.table(summary)


def test_a_complaint_is_told_without_addresses_and_folders(bench: ModuleType) -> None:
    folder = "/".join(["", "home", "someone", ".cache"])
    told = bench.parse("", f"trace\nerror: no https://index.example/simple/x in {folder}, sorry\n\n", 1)
    assert told == {"error": "error: no … in …, sorry"}
    assert bench.parse("", "", 3) == {"error": "exit 3"}
    assert bench.parse('noise\n{"steps_per_s": [1]}\n', "warning", 0) == {"steps_per_s": [1]}


def test_resets_lie_outside_the_clock_and_the_profile(worker: ModuleType) -> None:
    spent = {"physics": 0.0}

    class Env:
        resets = 0

        def reset(self, seed: int) -> None:
            self.resets += 1
            spent["physics"] += 100

        def step(self, action: object) -> tuple[Any, ...]:
            spent["physics"] += 1
            return None, 0.0, self.resets == 1, False, {}

    side = worker.Side(Env(), lambda seen: [], None, None, [], "")
    assert max(worker.run(side, range(5), 0, spent)) < 1
    # The first episode ends at once, the second goes on.
    assert side.env.resets == 2
    assert spent["physics"] == 5


def test_every_peer_has_a_worker(bench: ModuleType, worker: ModuleType) -> None:
    assert set(worker.SIDES) == {*bench.PEERS, *bench.OURS}


def test_a_control_step_is_checked(worker: ModuleType) -> None:
    class Data:
        time = 0.0

    class Env:
        def reset(self, seed: int) -> None:
            pass

        def step(self, action: object) -> tuple[Any, ...]:
            data.time += 0.1
            return (None,)

    data = Data()
    pictures = [np.full((96, 96, 3), shade, np.uint8) for shade in (1, 2)]
    worker.check(worker.Side(Env(), lambda seen: pictures, None, data, [], ""), None)
    with pytest.raises(RuntimeError, match="alike"):
        worker.check(worker.Side(Env(), lambda seen: [pictures[0]] * 2, None, data, [], ""), None)
    with pytest.raises(RuntimeError, match="shapes"):
        worker.check(worker.Side(Env(), lambda seen: [pictures[0]], None, data, [], ""), None)
    with pytest.raises(RuntimeError, match="covers"):
        worker.check(worker.Side(Env(), lambda seen: pictures, None, Data(), [], ""), None)


def test_our_side_runs_and_a_peer_that_cannot_is_an_error(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = bench.measure("ours", "default", choose_backend(), 0.1, 0)
    assert min(own["steps_per_s"]) > 10
    assert 0 < own["overhead_fraction"] < 1
    assert own["physics_ms"] > 0
    assert own["render_ms"] > 0

    failing = [sys.executable, "-c", "raise SystemExit('cannot be installed')"]
    monkeypatch.setattr(bench, "choose_backend", lambda _: "egl")
    monkeypatch.setattr(bench, "interpreter", lambda side: failing)
    really = bench.measure
    monkeypatch.setattr(bench, "measure", lambda s, *rest: own if s in bench.OURS else really(s, *rest))
    bench.main(["--quick", "--peers", "gym-hil"])
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["vs_best_peer_default"] is None
    assert summary["errors"] == dict.fromkeys(("gym-hil, default", "gym-hil, tuned"), "cannot be installed")
