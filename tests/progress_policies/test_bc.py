"""`progress-rm bc`: trains LeRobot's policies by weight, goes on after a kill, and says how often they succeed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.scripts import lerobot_train
from safetensors.torch import load_file

from progress_datasets.errors import UserError
from progress_datasets.write import EpisodeData, write_dataset
from progress_envs.env import ProgressEnv
from progress_policies import rollouts
from progress_policies.bc import Config, run
from progress_policies.rollouts import RolloutOptions, SuccessRate, chunk_length
from progress_rm.cli import call, main
from progress_rm.scores import EpisodeScores, ScoredTask, write_scores
from progress_rm.trainer import forget_precision

RECIPES = Path(__file__).parents[2] / "policies" / "recipes"

ACT = [
    "--policy.type=act",
    "--policy.device=cpu",
    "--policy.chunk_size=6",
    "--policy.n_action_steps=3",
    "--policy.dim_model=16",
    "--policy.n_heads=2",
    "--policy.dim_feedforward=16",
    "--policy.n_encoder_layers=1",
    "--policy.use_vae=false",
    "--policy.dropout=0",
    "--steps=4",
    "--save_every=2",
    "--batch_size=4",
]


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two demonstrations on joints and the simulator's state: one at an even speed, one that fails half way."""
    root = tmp_path_factory.mktemp("bc") / "demos"
    env = ProgressEnv("PickPlace", obs_type="state")
    size = len(env.environment_state())
    env.close()
    rng = np.random.default_rng(0)
    progress = [np.linspace(0, 1, 21), np.concatenate([np.linspace(0, 0.5, 11), np.full(10, 0.5)])]
    episodes = [
        EpisodeData(
            task="put it there",
            frames={},
            state=rng.normal(size=(21, 6)).astype(np.float32),
            action=rng.normal(size=(21, 6)).astype(np.float32),
            extra={
                "progress": p.astype(np.float32),
                "observation.environment_state": rng.normal(size=(21, size)).astype(np.float32),
            },
            info={"quality": quality, "outcome": outcome},
        )
        for p, quality, outcome in zip(progress, ("expert", "failing"), ("success", "partial"), strict=True)
    ]
    dataset = write_dataset(root, 10, episodes)
    answers = {
        k: EpisodeScores(e.extra["progress"], np.full(21, "all"), np.zeros(21), e.extra["progress"])
        for k, e in enumerate(episodes)
    }
    tasks = {"put it there": ScoredTask(("all",), (1.0,))}
    write_scores(root / "sarm_progress.parquet", dataset, answers, reward_model_path="truth", tasks=tasks)
    return root


def weights_of(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "policy" / "checkpoints" / "last" / "pretrained_model" / "model.safetensors")


def same(a: Path, b: Path) -> bool:
    one, other = weights_of(a), weights_of(b)
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def trained(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained") / "out"
    options = [
        *("--env.type=progress", "--env.task=PickPlace", "--env.obs_type=state", "--env.episode_length=4"),
        *("--env.render_size=32", "--env.render=raycast", "--eval.envs=2", "--eval.videos=1"),
        *("--eval.episodes=3", "--eval.actions_per_chunk=[1,6]", "--weights.kappa=0.2"),
    ]
    call("bc", [*ACT, *options, f"--dataset.root={demos}", f"--output_dir={output}"])
    return output


def test_it_leaves_a_policy_its_weights_its_success_and_films(trained: Path) -> None:
    summary = json.loads((trained / "training.json").read_text())
    assert [e["actions_per_chunk"] for e in summary["evaluation"]] == [1, 6]
    for evaluation in summary["evaluation"]:
        assert evaluation["successes"] == [0, 0, 0]
        assert evaluation["interval"] == pytest.approx([0, 0.5615], abs=1e-3)
    assert {p.name for p in (trained / "videos").rglob("*.mp4")} == {"eval_episode_0.mp4"}
    qualities = json.loads((trained / "weights.json").read_text())["per_quality"]
    assert qualities["expert"]["kept"] == 1
    assert qualities["failing"]["kept"] < 0.8
    saved = sorted(p.name for p in (trained / "policy" / "checkpoints").iterdir())
    assert saved == ["000002", "000004", "last"]
    assert (trained / "policy/checkpoints/last/pretrained_model/policy_preprocessor.json").exists()


def test_diffusion_is_trained_and_evaluated_alike(demos: Path, tmp_path: Path) -> None:
    small = [
        *(
            "--policy.type=diffusion",
            "--policy.device=cpu",
            "--policy.horizon=8",
            "--policy.n_action_steps=4",
        ),
        *("--policy.down_dims=[8,16]", "--policy.n_groups=4", "--policy.diffusion_step_embed_dim=8"),
        *("--policy.noise_scheduler_type=DDIM", "--policy.num_inference_steps=2"),
        *("--env.type=progress", "--env.task=PickPlace", "--env.obs_type=state", "--env.episode_length=4"),
        *("--eval.envs=2", "--eval.videos=0", "--eval.episodes=2"),
        *("--weights.kappa=0.2", "--steps=2", "--batch_size=4"),
    ]
    call("bc", [*small, f"--dataset.root={demos}", f"--output_dir={tmp_path / 'out'}"])
    summary = json.loads((tmp_path / "out" / "training.json").read_text())
    assert summary["evaluation"][0]["successes"] == [0, 0]
    assert json.loads((tmp_path / "out" / "weights.json").read_text())["horizon"] == 7


def test_a_finished_training_is_not_overwritten(
    trained: Path, demos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bc", *ACT, f"--dataset.root={demos}", f"--output_dir={trained}"]) == 2
    assert "finished training" in capsys.readouterr().err


def test_killed_and_called_again_it_ends_where_it_would_have(
    trained: Path, demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, calls = lerobot_train.update_policy, iter(range(100))

    def killed(*arguments: Any, **options: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return update(*arguments, **options)

    words = [*ACT, "--weights.kappa=0.2", f"--dataset.root={demos}", f"--output_dir={tmp_path / 'out'}"]
    with monkeypatch.context() as patch:
        patch.setattr(lerobot_train, "update_policy", killed)
        with pytest.raises(KeyboardInterrupt):
            call("bc", words)
    call("bc", words)
    assert same(tmp_path / "out", trained)


def test_equal_weights_are_plain_behaviour_cloning(demos: Path, tmp_path: Path, trained: Path) -> None:
    """On the successful demonstration, which goes at an even speed."""
    common = [*ACT, f"--dataset.root={demos}", "--episodes=successful"]
    call("bc", [*common, f"--output_dir={tmp_path / 'plain'}", "--weigh_by=none"])
    call("bc", [*common, f"--output_dir={tmp_path / 'weighed'}", "--weights.kappa=0.1"])
    assert same(tmp_path / "plain", tmp_path / "weighed")
    assert not same(tmp_path / "plain", trained)


class SampleAct(ACTPolicy):
    """An ACT that can say the loss of each sample, one at a time."""

    config_class = ACTConfig
    name = "act"

    def forward(self, batch: Any, reduction: str = "mean") -> Any:
        if reduction == "mean":
            return super().forward(batch)
        size = len(batch["index"])
        parts = [{k: v[n : n + 1] for k, v in batch.items() if hasattr(v, "shape")} for n in range(size)]
        return torch.stack([super(SampleAct, self).forward(part)[0] for part in parts]), {}


def test_an_earlier_trainings_precision_is_not_taken_over(demos: Path, tmp_path: Path) -> None:
    forget_precision()
    assert Accelerator(mixed_precision="bf16").mixed_precision == "bf16"
    call("bc", [*ACT, f"--dataset.root={demos}", f"--output_dir={tmp_path / 'out'}", "--weights.kappa=0.2"])
    assert Accelerator().mixed_precision == "no"


def test_weights_in_the_loss(demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*ACT, f"--dataset.root={demos}", "--weights.kappa=0.2", "--weigh_by=loss"]
    with pytest.raises(UserError, match="sampling works with every policy"):
        call("bc", [*words, f"--output_dir={tmp_path / 'refused'}"])
    make, losses = lerobot_train.make_policy, []

    def with_sample_losses(*arguments: Any, **options: Any) -> Any:
        policy = make(*arguments, **options)
        policy.__class__ = SampleAct
        return policy

    forward = SampleAct.forward

    def noted(self: Any, batch: Any, reduction: str = "mean") -> Any:
        losses.append(reduction)
        return forward(self, batch, reduction=reduction)

    monkeypatch.setattr(lerobot_train, "make_policy", with_sample_losses)
    monkeypatch.setattr(SampleAct, "forward", noted)
    call("bc", [*words, f"--output_dir={tmp_path / 'out'}"])
    assert losses == ["none"] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--eval.actions_per_chunk=[7]"], "7 actions of a chunk of 6"),
        (["--scores=nowhere.parquet"], "there are no scores"),
        (["--weigh_by=magic"], "choose one of none, sampling, loss"),
        (["--weights.kappa=0.1", "--weights.kappa_quantile=0.5"], "exclude each other"),
        (["--policy.type=akt"], "did you mean 'act'"),
        (["--steps=0"], "at least 1"),
        (["--env.type=progress"], "--env.obs_type=state"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], message: str, demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["bc", *ACT, *options, f"--dataset.root={demos}", f"--output_dir={out}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_an_env_that_does_not_show_what_the_policy_needs(trained: Path) -> None:
    from progress_envs.lerobot import ProgressEnvConfig

    folder = trained / "policy" / "checkpoints" / "last" / "pretrained_model"
    with pytest.raises(UserError, match=r"environment_state.*--env.obs_type=state"):
        rollouts.evaluate_policy(folder, ProgressEnvConfig(task="PickPlace"), RolloutOptions())


def test_the_chunk_is_what_lies_ahead() -> None:
    assert chunk_length(ACTConfig(chunk_size=50, n_action_steps=50, device="cpu")) == 50
    # The first of Diffusion's 16 actions belongs to the observation before the present one.
    assert chunk_length(DiffusionConfig(horizon=16, n_action_steps=8, n_obs_steps=2, device="cpu")) == 15


def test_a_success_rate_says_its_interval() -> None:
    rate = SuccessRate([True] * 45 + [False] * 55, 10)
    assert str(rate) == "success 0.45 [0.36, 0.55] (45 of 100, 10 actions a chunk)"


def test_config_has_lerobots_own_options() -> None:
    from progress_rm.options import parse

    config = parse(Config, ["--policy.type=diffusion", "--policy.horizon=48"], "progress-rm bc")
    assert config.policy.horizon == 48  # type: ignore[attr-defined]
    assert config.env is None
    with pytest.raises(UserError, match=r"--dataset.root is missing"):
        run(config)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_are_options_of_bc(path: Path) -> None:
    from progress_rm.options import parse

    config = parse(Config, [f"--config_path={path}"], "progress-rm bc")
    assert config.weights.kappa_quantile == 0.5
    assert path.name in (RECIPES / "README.md").read_text(encoding="utf-8")
