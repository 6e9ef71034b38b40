"""`progress-rm rl`: a policy learns online, its sparse reward shaped by progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from progress_datasets.errors import UserError
from progress_policies.rl.rlpd import LearnerOptions
from progress_rm.shaping import MODES, Shaping, SuccessRule

ALGORITHMS = ("rlpd", "sac", "crossq", "tqc")
PROGRESS = ("true", "learned", "random")


@dataclass
class Config:
    """Learn a policy online in a simulated task; the same command again goes on after a kill."""

    env: str = "PickPlace"
    """Task, by name."""
    output_dir: str = ""
    """Where policy, buffer, curves, videos and report go."""
    algorithm: str = "rlpd"
    """rlpd (demonstrations and residual); sac, crossq or tqc of Stable-Baselines3, from rewards alone."""
    reward: str = "policy_invariant"
    """policy_invariant, sparse, difference or additive."""
    progress: str = "true"
    """Whose progress: true (the simulator's), learned (a reward model's) or random."""
    reward_model: str = ""
    """Trained reward model, for learned progress, success by it, and features."""
    success: str = "env"
    """Who says that the task is done: env, or reward_model as on a real arm. Evaluation always asks the env."""
    success_thresholds: list[float] = field(default_factory=lambda: [0.95, 0.85])
    """Success by the reward model begins at the first and is lost below the second."""
    success_ticks: int = 3
    """Decisions over which it must hold."""
    observation: str = "state"
    """What the policy sees: state (the simulator's) or features (of the reward model's frozen encoder)."""
    demonstrations: int = 1
    """Expert demonstrations, those that `collect --qualities=[expert]` records with the same seed."""
    demonstration_seed: int = 0
    """Their seed."""
    clone: bool = True
    """Clone the demonstrations as a base policy, on which the learner is a residual; otherwise it starts at random."""
    rollouts: int = 150
    """Episodes to learn from."""
    warm_up: int = 5
    """Rollouts of the base policy with noise, after which the actor begins to learn."""
    gamma: float = 0.96
    """Discount of a decision."""
    scale: float = 1.0
    """The potential is this many times the progress."""
    shift: float = 0.0
    """Added to progress before scaling."""
    caution: float = 0.0
    """Standard deviations of the reward model's uncertainty taken off its progress."""
    bootstrap: float | None = None
    """Discount of what the critics expect at first, less than gamma; by default gamma. See docs/shaping.md."""
    anneal: int = 100
    """Rollouts after which that discount is gamma."""
    fps: int = 10
    """Control steps a second."""
    repeat: int = 2
    """Control steps that a decision is held."""
    episode_seconds: float = 0.0
    """Time limit of an episode; 0: the task's own."""
    split: str | None = None
    """Split of the task's variation; none for the plain scene."""
    intervene_after: float = 0.0
    """Seconds without new progress after which the scripted expert takes over, as a person would; 0: never."""
    evaluate_every: int = 25
    """Rollouts between evaluations."""
    evaluation_episodes: int = 100
    """Episodes of an evaluation, the same ones each time."""
    checkpoint_every: int = 5
    """Rollouts between checkpoints to resume from."""
    videos: int = 1
    """Episodes to film after the last rollout."""
    render: str = "auto"
    """How to draw, where pictures are needed: auto, egl, osmesa or raycast."""
    learner: LearnerOptions = field(default_factory=LearnerOptions)
    """Options of rlpd."""
    seed: int = 0
    """Of everything drawn."""
    compare: list[str] = field(default_factory=list)
    """Finished runs to compare instead of learning: writes one page, output_dir/report.html."""

    def shaping(self) -> Shaping:
        """The formula with the learner's discount, that of a decision."""
        return Shaping(self.gamma, self.reward, self.scale, self.shift, self.caution)

    def success_rule(self) -> SuccessRule:
        """When the reward model's word counts."""
        enter, leave = self.success_thresholds
        return SuccessRule(enter, leave, self.success_ticks)

    @property
    def needs_model(self) -> bool:
        """Whether a reward model must be there."""
        return self.progress == "learned" or self.observation == "features" or self.success == "reward_model"


def run(config: Config) -> dict[str, Any]:
    """Learn, evaluate, save and report; prints and returns a summary.

    Raises:
        UserError: an option is wrong, or `output_dir` holds something else.
    """
    check(config)
    if config.compare:
        from progress_policies.rl.page import compare

        return compare(config.compare, config.output_dir)
    if config.algorithm != "rlpd":
        from progress_policies.rl.sb3 import learn

        return learn(config)
    from progress_policies.rl.training import train

    return train(config)


def check(config: Config) -> None:
    """Refuse what cannot work.

    Raises:
        UserError: an option is wrong.
    """
    if not config.output_dir:
        raise UserError("--output_dir is missing; say where the policy should go")
    for name, choices in {
        "algorithm": ALGORITHMS,
        "reward": MODES,
        "progress": PROGRESS,
        "success": ("env", "reward_model"),
        "observation": ("state", "features"),
    }.items():
        if getattr(config, name) not in choices:
            raise UserError(
                f"--{name}={getattr(config, name)} is unknown; choose one of {', '.join(choices)}"
            )
    config.shaping()
    if config.needs_model and not config.reward_model:
        raise UserError("--reward_model is missing; give the output folder of 'progress-rm train'")
    if len(config.success_thresholds) != 2:
        raise UserError("--success_thresholds takes two numbers, such as [0.95,0.85]")
    config.success_rule()
    least = {"rollouts": 1, "demonstrations": 0, "repeat": 1, "warm_up": 0, "anneal": 1, "evaluate_every": 1}
    least |= {"evaluation_episodes": 1, "checkpoint_every": 1, "videos": 0, "fps": 1}
    for name, lowest in least.items():
        if getattr(config, name) < lowest:
            raise UserError(f"--{name}={getattr(config, name)}: give at least {lowest}")
    if config.bootstrap is not None and not 0 <= config.bootstrap <= config.gamma:
        raise UserError(f"--bootstrap={config.bootstrap}: give 0 to gamma={config.gamma}")
    if config.clone and config.algorithm == "rlpd" and config.demonstrations == 0:
        raise UserError("--demonstrations=0 leaves nothing to clone; pass --clone=false")
    if config.learner.critics < 2:
        raise UserError("--learner.critics: the target is the least of two, so give at least 2")
