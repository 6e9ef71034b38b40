"""SAC, CrossQ and TQC of Stable-Baselines3 on the same env and reward, for everything that they can do."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from progress_datasets.errors import UserError
from progress_policies.rl import Config
from progress_policies.rl.evaluation import evaluate
from progress_policies.rl.world import make_world


def learn(config: Config) -> dict[str, Any]:
    """Learn from rewards alone, without demonstrations or base; prints and returns a summary.

    The number of rollouts stands for as many episodes of full length. Actor and critic both see Φ. Weights are saved as
    safetensors, for Stable-Baselines3's own files hold pickles; these runs start anew after a kill.

    Raises:
        UserError: Stable-Baselines3 is not installed, or `output_dir` holds something else.
    """
    algorithm = _algorithm(config.algorithm)
    if config.bootstrap is not None:
        raise UserError(
            f"--bootstrap is not for --algorithm={config.algorithm}; only rlpd anneals its discount"
        )
    from safetensors.torch import save_file

    from progress_rm.checkpoints import claim_output

    output = claim_output(config, Path(config.output_dir))
    model = None
    if config.needs_model:
        from progress_rm import load_model

        model = load_model(config.reward_model, device="cpu")
    world, judge = make_world(config, model), make_world(replace(config, success="env"), model)
    learner = algorithm(
        "MlpPolicy",
        world,
        gamma=config.gamma,
        learning_starts=config.warm_up * world.scene.max_steps // config.repeat,
        seed=config.seed,
        tensorboard_log=str(output / "logs"),
        device="cpu",
    )

    def act(seen: Any) -> Any:
        return learner.predict(seen, deterministic=True)[0]

    evaluations = [evaluate(judge, act, config.evaluation_episodes, 0).as_dict()]
    stops = [*range(config.evaluate_every, config.rollouts, config.evaluate_every), config.rollouts]
    for before, done in pairwise([0, *stops]):
        steps = (done - before) * world.scene.max_steps // config.repeat
        learner.learn(steps, reset_num_timesteps=False, tb_log_name="run")
        evaluations.append(evaluate(judge, act, config.evaluation_episodes, done).as_dict())
    save_file(learner.policy.state_dict(), output / "policy.safetensors")
    summary = {
        **{name: getattr(config, name) for name in ("env", "algorithm", "reward", "progress", "seed")},
        "success": evaluations[-1]["success"],
        "evaluations": evaluations,
        "shares": {},
    }
    from progress_policies.rl.page import write_page

    write_page(output / "report.html", {output.name: summary}, output)
    (output / "training.json").write_text(json.dumps(summary, indent=1))
    print(json.dumps({name: summary[name] for name in ("env", "algorithm", "reward", "seed", "success")}))
    return summary


def _algorithm(name: str) -> Any:
    try:
        if name == "sac":
            from stable_baselines3 import SAC

            return SAC
        import sb3_contrib
    except ImportError as error:
        raise UserError(
            f"--algorithm={name} needs Stable-Baselines3; install it with: pip install 'progress-rm[rl]'"
        ) from error
    return sb3_contrib.CrossQ if name == "crossq" else sb3_contrib.TQC
