"""The policy in a process of its own: looks at a tick when asked, answers with a chunk of actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.utils import prepare_observation_for_inference
from lerobot.utils.constants import OBS_IMAGES, OBS_STATE
from numpy.typing import NDArray

from progress_policies.rollouts import chunk_length
from progress_policies.run.board import Board, Layout, Seen
from progress_policies.run.workers import Inbox

_STACKING = ("diffusion",)
"""LeRobot's policies whose chunk is predicted from the last ticks stacked, which we can give them."""

_REMEMBERING = ("vqbet", "tdmpc", "multi_task_dit")
"""LeRobot's policies whose chunk is predicted from what `select_action` has seen, also of one tick."""


@dataclass
class PolicyOptions:
    """Which trained policy."""

    path: str = ""
    """Folder of a policy as LeRobot saves it, or its Hub repository id."""
    device: str = ""
    """Where to run; by default as it was trained."""
    actions_per_chunk: int = 0
    """Actions of a chunk that are executed before the policy looks again; 0: as the policy says."""
    threads: int = 1
    """Threads of the processor that it may use."""

    def __post_init__(self) -> None:
        if self.actions_per_chunk < 0 or self.threads < 1:
            raise ValueError("give actions_per_chunk of 0 or more, and threads of at least 1")


class Policy:
    """A saved policy with its processors.

    Attributes:
        views: cameras that it needs.
        used: actions of a chunk that are to be executed.
        ticks: how many ticks it looks at to say a chunk, the present one included.
    """

    def __init__(self, options: PolicyOptions, task: str, robot_type: str) -> None:
        torch.set_num_threads(options.threads)
        config = PreTrainedConfig.from_pretrained(options.path)
        config.pretrained_path = options.path
        if options.device:
            config.device = options.device
        self._policy = get_policy_class(config.type).from_pretrained(options.path, config=config)
        self._policy.eval()
        device = {"device_processor": {"device": str(config.device)}}
        self._before, self._after = make_pre_post_processors(
            config, str(options.path), preprocessor_overrides=device
        )
        self._device, self._task, self._robot_type = torch.device(config.device), task, robot_type
        self.views = [name.removeprefix(f"{OBS_IMAGES}.") for name in config.image_features or {}]
        self.needs = list(config.input_features or {})
        self._whole = answers_in_chunks(config)
        self._stacks = self._whole and config.type in _STACKING
        self.ticks = int(getattr(config, "n_obs_steps", 1)) if self._stacks else 1
        self.used = min(
            options.actions_per_chunk or getattr(config, "n_action_steps", 1), chunk_length(config)
        )
        if not self._whole:
            self.used = 1

    def reset(self) -> None:
        """A new attempt begins."""
        self._policy.reset()
        self._before.reset()
        self._after.reset()

    @torch.inference_mode()
    def look(self, seen: Sequence[Seen]) -> NDArray[np.float64]:
        """Actions [k, n], the first one for the last of the ticks that were seen; `ticks` of them are needed."""
        batches = [self._batch(one) for one in seen]
        if self._stacks:
            # As the policy stacks what it remembers: [1, ticks, …].
            named = [key for key, value in batches[0].items() if isinstance(value, torch.Tensor)]
            batch: dict[str, Any] = {key: torch.stack([b[key] for b in batches], 1) for key in named}
        else:
            batch = batches[-1]
        if self._whole:
            actions = self._after(self._policy.predict_action_chunk(batch))[0]
        else:
            actions = self._after(self._policy.select_action(batch))
        return np.asarray(actions.reshape(-1, actions.shape[-1]).double().cpu())

    def _batch(self, seen: Seen) -> dict[str, Any]:
        batch: dict[str, Any] = {OBS_STATE: seen.joints.astype(np.float32)}
        batch |= {f"{OBS_IMAGES}.{view}": seen.images[view] for view in self.views}
        ready: dict[str, Any] = self._before(
            prepare_observation_for_inference(batch, self._device, self._task, self._robot_type)
        )
        return ready


def answers_in_chunks(config: PreTrainedConfig) -> bool:
    """Whether a chunk depends on what is seen alone; other policies are asked for one action a tick.

    Those remember what they saw, or average what they said, in `select_action`.
    """
    forgets = getattr(config, "n_obs_steps", 1) == 1 and config.type not in _REMEMBERING
    ensemble = getattr(config, "temporal_ensemble_coeff", None) is not None
    return chunk_length(config) > 1 and (forgets or config.type in _STACKING) and not ensemble


def act(
    inbox: Inbox, memory: Any, layout: Layout, options: PolicyOptions, task: str, robot_type: str
) -> None:
    """Answer {"look": tick} and {"reset": true} until the loop is gone."""
    try:
        policy = Policy(options, task, robot_type)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the person at the robot has to read it
        inbox.send({"error": f"--policy.path={options.path}: cannot be loaded ({_line(error)})"})
        return
    # The loop goes on writing while the policy thinks, so what it looks at must not be the oldest that is kept.
    if policy.ticks > (kept := layout.slots - 2):
        inbox.send(
            {
                "error": f"--policy.path={options.path}: the policy looks at {policy.ticks} ticks at once and "
                f"{kept} are kept; give more with --recording.keep_s"
            }
        )
        return
    inbox.send({"ready": True, "needs": policy.needs, "used": policy.used})
    board = Board(memory, layout)
    first: int | None = None
    while (message := inbox.receive()) is not None:
        if "reset" in message:
            policy.reset()
            first = None
            continue
        tick = message["look"]
        first = tick if first is None else first
        # Before the first tick it looked as it does at the first.
        ticks = [max(first, tick - back) for back in reversed(range(policy.ticks))]
        seen = [found for found in map(board.get, ticks) if found is not None]
        if len(seen) < len(ticks):
            inbox.send({"tick": tick, "missed": True})
        else:
            inbox.send({"tick": tick, "actions": policy.look(seen).tolist()})


def _line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
