"""Reward shaping by progress: r′ = r + γΦ(h′) − Φ(h), which changes how fast is learned but not what is best.

`Shaping` is the formula, `ShapedReward` and `ShapedVectorReward` apply it inside Gymnasium environments, and a
`ProgressSource` says how much of the task is done: the simulator, a reward model, or nobody (random).

    env = ShapedReward(env, Shaping(gamma=0.97), LearnedProgress(model, frames=lambda o: o["pixels"], fps=10))
"""

from progress_rm.shaping.formula import MODES, Shaping, bootstrap_discount
from progress_rm.shaping.sources import (
    LearnedProgress,
    Progress,
    ProgressSource,
    RandomProgress,
    SuccessRule,
    TrueProgress,
    replay,
)
from progress_rm.shaping.vector import ShapedVectorReward
from progress_rm.shaping.wrapper import ShapedReward

__all__ = [
    "MODES",
    "Shaping",
    "bootstrap_discount",
    "Progress",
    "ProgressSource",
    "TrueProgress",
    "LearnedProgress",
    "RandomProgress",
    "SuccessRule",
    "replay",
    "ShapedReward",
    "ShapedVectorReward",
]
