"""The formula: its sum telescopes, whatever the history, the end and the chunks; misuse is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_datasets.errors import UserError
from progress_rm.shaping import MODES, Shaping, bootstrap_discount

unit = st.floats(0, 1)
gammas = st.floats(0.5, 1.0)


@given(
    gamma=gammas,
    progress=st.lists(unit, min_size=2, max_size=30),
    terminated=st.booleans(),
    scale=st.floats(0.1, 10),
    shift=st.floats(-1, 1),
)
def test_the_discounted_sum_is_that_of_the_two_ends(
    gamma: float, progress: list[float], terminated: bool, scale: float, shift: float
) -> None:
    shaping = Shaping(gamma, scale=scale, shift=shift)
    phi = shaping.potential(progress)
    steps = len(phi) - 1
    ends = np.arange(steps) == steps - 1
    extra = shaping.extra(phi[:-1], phi[1:], ends & terminated)
    total = (gamma ** np.arange(steps) * extra).sum()
    assert total == pytest.approx((0 if terminated else gamma**steps * phi[-1]) - phi[0], abs=1e-9)


@given(
    gamma=gammas,
    progress=st.lists(unit, min_size=2, max_size=12),
    rewards=st.lists(unit, min_size=11, max_size=11),
    terminated=st.booleans(),
)
def test_a_chunk_is_its_steps(
    gamma: float, progress: list[float], rewards: list[float], terminated: bool
) -> None:
    shaping, phi = Shaping(gamma), np.array(progress)
    k = len(phi) - 1
    ends = (np.arange(k) == k - 1) & terminated
    powers = gamma ** np.arange(k)
    one_by_one = (powers * shaping.reward(rewards[:k], phi[:-1], phi[1:], ends)).sum()
    chunk = shaping.reward((powers * rewards[:k]).sum(), phi[0], phi[-1], terminated, steps=k)
    assert chunk == pytest.approx(one_by_one, abs=1e-9)


def test_the_potential_is_clamped_and_the_sum_is_not() -> None:
    shaping = Shaping(0.9, caution=2.0)
    assert shaping.potential([0.5, 0.1, 1.0], [0.1, 0.3, 0.0]).tolist() == pytest.approx([0.3, 0.0, 1.0])
    assert Shaping(0.9, scale=4.0, shift=-1.0).potential([0.0, 1.0]).tolist() == [-4.0, 0.0]
    assert Shaping(0.9, scale=5.0).reward(1.0, 0.0, 5.0, False) == 5.5
    assert Shaping(0.9).reward(0.0, 1.0, 0.0, True) == -1.0


def test_the_other_modes_are_what_they_are_called() -> None:
    extras = {mode: float(Shaping(0.5, mode=mode).extra(0.2, 0.6, terminated=True)) for mode in MODES}
    wanted = {"policy_invariant": -0.2, "sparse": 0.0, "difference": 0.4, "additive": 0.6}
    assert extras == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gamma": 0.0}, "gamma=0.0"),
        ({"gamma": 1.1}, "gamma=1.1"),
        ({"mode": "dense"}, "choose one of policy_invariant"),
        ({"scale": 0.0}, "scale=0.0"),
        ({"scale": float("inf")}, "scale=inf"),
        ({"shift": float("nan")}, "shift=nan"),
        ({"caution": -1.0}, "caution=-1.0"),
    ],
)
def test_misuse_is_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Shaping(**{"gamma": 0.9, **options})  # type: ignore[arg-type]


def test_gamma_has_no_default_and_missing_progress_is_no_zero() -> None:
    with pytest.raises(TypeError, match="gamma"):
        Shaping()  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="not finite"):
        Shaping(0.9).potential([0.1, float("nan")])


@given(gamma=gammas, share=unit, done=st.floats(-1, 3))
def test_the_bootstrap_discount_ends_at_gamma(gamma: float, share: float, done: float) -> None:
    found = bootstrap_discount(gamma, share * gamma, done)
    assert share * gamma - 1e-12 <= found <= gamma + 1e-12
    assert done < 1 or found == gamma
    with pytest.raises(UserError, match="bootstrap discount"):
        bootstrap_discount(gamma, gamma + 0.01, done)
