"""The judged, one file each; a new one is a file here and a line in `ADAPTERS`."""

from __future__ import annotations

from collections.abc import Callable

from judge.adapter import Adapter
from judge.models.clock import CausalClock, HindsightClock
from judge.models.goal_distance import GoalDistance
from judge.models.grm import VARIANTS as GRM_VARIANTS
from judge.models.grm import Grm
from judge.models.lerobot_classifier import LerobotClassifier
from judge.models.lerobot_sarm import LerobotSarm, LerobotSarmCausal
from judge.models.multiview_sarm import VARIANTS, MultiviewSarm
from judge.models.rewind import Rewind
from judge.models.sarm2 import VARIANTS as SARM2_VARIANTS
from judge.models.sarm2 import Multitask, Sarm2

OURS = "multiview_sarm"

ADAPTERS: dict[str, Callable[[], Adapter]] = {
    OURS: MultiviewSarm,
    "sarm2": Sarm2,
    "grm": Grm,
    "lerobot_sarm": LerobotSarm,
    "lerobot_sarm_causal": LerobotSarmCausal,
    "reward_classifier": LerobotClassifier,
    "goal_distance": GoalDistance,
    "rewind": Rewind,
    "clock": CausalClock,
    "clock_hindsight": HindsightClock,
}
"""Name → maker, in the order of tables."""

ABLATION: dict[str, Callable[[], Adapter]] = {
    **{f"{OURS}:{name}": (lambda name=name: MultiviewSarm(name)) for name in VARIANTS},
    **{f"sarm2:{name}": (lambda name=name: Sarm2(name)) for name in SARM2_VARIANTS},
    Multitask.name: Multitask,
    **{f"grm:{name}": (lambda name=name: Grm(name)) for name in GRM_VARIANTS},
}
"""Ours with one thing left out or changed, by name."""
