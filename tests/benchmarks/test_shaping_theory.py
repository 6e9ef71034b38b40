"""Over thousands of random MDPs the shipped formula keeps the optimum and every wrong one does not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def theory(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("shaping_theory")


def test_only_the_right_forms_keep_the_optimum(theory: ModuleType) -> None:
    shares = theory.measure(2100, seed=1)
    right = {name: shares.pop(name) for name in theory.RIGHT}
    assert right == dict.fromkeys(theory.RIGHT, 0.0)
    assert len(right) == 4
    assert min(shares.values()) > 0.2, shares


def test_the_potentials_depend_on_the_history(theory: ModuleType) -> None:
    for memory in ("maximum", "automaton", "chance"):
        mdps = theory.draw(50, memory, np.random.default_rng(0))
        assert np.allclose(mdps.steps.sum(-1) + mdps.ended, 1)
        seen = theory.reachable(mdps).reshape(50, theory.STATES, -1)
        phi = np.where(seen, mdps.potential.reshape(seen.shape), np.nan)
        spread = np.nanmax(phi, -1, initial=-1, where=seen) - np.nanmin(phi, -1, initial=2, where=seen)
        assert (spread.max(1) > 1e-3).mean() > 0.9


def test_values_are_optimal(theory: ModuleType) -> None:
    mdps = theory.draw(20, "automaton", np.random.default_rng(3))
    q = theory.solve(mdps.steps, mdps.reward, theory.GAMMA)
    values = np.zeros(q.shape[::2])
    for _ in range(400):
        values = (mdps.reward + theory.GAMMA * np.einsum("naij,nj->nai", mdps.steps, values)).max(1)
    assert np.allclose(q.max(1), values, atol=1e-8)


def test_the_trap_traps(theory: ModuleType) -> None:
    """Where finishing may fail, plain differences and raw progress pay for lingering; the invariant form never does."""
    chances = (0.05, 0.3, 0.7, 1.0)
    for mode in ("sparse", "policy_invariant"):
        assert all(theory.trap(chance, mode) > 0 for chance in chances)
    assert theory.trap(0.05, "difference") < 0
    assert all(theory.trap(chance, "additive") < 0 for chance in chances)
    assert theory.trap(0.3, "policy_invariant") == pytest.approx(theory.trap(0.3, "sparse"))


def test_the_page_shows_what_was_measured() -> None:
    result = json.loads((ROOT / "benchmarks/results/shaping_theory.json").read_text())
    page = (ROOT / "docs/shaping.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (.+?) \| ([\d.]+) % \|$", page, re.MULTILINE))
    measured = {name: 100 * share for name, share in result["optimum_changed"].items()}
    assert {name: float(share) for name, share in rows.items()} == pytest.approx(measured, abs=0.051)
