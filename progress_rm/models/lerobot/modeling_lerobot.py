"""`lerobot`: LeRobot's robometer, topreward and reward_classifier, asked causally through the installed package."""

from __future__ import annotations

import contextlib
import math
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lerobot.configs.rewards import RewardModelConfig
from lerobot.rewards.factory import get_reward_model_class, make_reward_pre_post_processors
from torch import Tensor
from torch.nn.functional import interpolate

from progress_datasets.errors import UserError
from progress_rm.labels import stage_at
from progress_rm.models.asking import Answer, AskingModel, Question
from progress_rm.models.lerobot.configuration_lerobot import LerobotConfig, defaults_of
from progress_rm.models.lerobot_batch import IMAGES


class LerobotRewardModel(AskingModel):
    """Speaks for a checkpoint of LeRobot's; it has no weights of its own.

    - `robometer`: frames spread from the episode's first to now, as its own script takes them; progress at the last.
    - `topreward`: the same, and the probability of the answer "True". Its own script stretches the log probabilities
      of each episode to [0, 1], so that every failure ends like a success; nothing is stretched here.
    - `reward_classifier`: now alone, the probability of success.

    Args:
        config: options; `tasks` and `checkpoint` must be filled.
        dataset_stats: unused.
        dataset_meta: unused.

    Raises:
        UserError: there are no tasks, or the checkpoint cannot be loaded, or it reads the future.
    """

    config_class = LerobotConfig
    name = "lerobot"

    def __init__(self, config: LerobotConfig, dataset_stats: Any = None, dataset_meta: Any = None) -> None:
        super().__init__(config)
        if not config.checkpoint:
            raise UserError("lerobot has no checkpoint; give --model.checkpoint a folder or a Hub id")
        if not config.tasks:
            raise UserError(
                "lerobot knows no task yet; give the checkpoint as --model.path, or train it with 'progress-rm train'"
            )
        try:
            theirs = RewardModelConfig.from_pretrained(config.checkpoint)
        except FileNotFoundError as error:
            raise UserError(f"there is no checkpoint of LeRobot's in '{config.checkpoint}'") from error
        self.kind = str(theirs.type)
        defaults_of(self.kind, config.checkpoint)
        theirs.device, theirs.pretrained_path = config.device, config.checkpoint
        try:
            with contextlib.redirect_stdout(sys.stderr):
                wrapped: Any = get_reward_model_class(self.kind).from_pretrained(
                    config.checkpoint, config=theirs
                )
                self._prepare = _processor(self.kind, theirs, config.checkpoint)
        except ImportError as error:
            raise UserError(
                f"LeRobot's {self.kind} needs a package that is missing ({str(error).splitlines()[0]}); "
                "pip install 'progress-rm[vlm]'"
            ) from error
        except OSError as error:
            raise UserError(
                f"'{config.checkpoint}' cannot be loaded: {str(error).strip().splitlines()[0]}"
            ) from error
        # Not a part of this module, so that its weights are not written into our checkpoints.
        self._wrapped = [wrapped.eval()]
        self._keys = [key for key in _image_keys(self.kind, theirs) if key.startswith("observation.image")]
        config.views = _views(config, [key.removeprefix(IMAGES) for key in self._keys])

    def window(self, count: int) -> list[int]:
        """Frames spread evenly from the first to now."""
        size = self.config.window
        return [count - 1] if size == 1 else np.linspace(0, count - 1, size).round().astype(int).tolist()

    @property
    def looks_back(self) -> int | None:
        """All, where frames are spread over the whole episode."""
        return 1 if self.config.window == 1 else None

    @torch.no_grad()
    def ask(self, questions: Sequence[Question]) -> list[Answer | None]:
        """See `AskingModel.ask`."""
        values = (
            [value for q in questions for value in self._values([q])]
            if self.kind == "topreward"
            else self._values(questions)
        )
        answers: list[Answer | None] = []
        for question, value in zip(questions, values, strict=True):
            task = self.config.tasks[question.task]
            probs = np.zeros(len(task.stages))
            probs[stage_at(np.array(value), task.priors)] = 1.0
            answers.append(Answer(value, probs))
        return answers

    def _values(self, questions: Sequence[Question]) -> list[float]:
        batch: dict[str, Any] = {"task": [question.instruction for question in questions]}
        for key, view in zip(self._keys, self.config.views, strict=True):
            for question in questions:
                for glimpse in question.window:
                    if view not in glimpse.pictures:
                        raise UserError(
                            f"'{self.config.checkpoint}' looks at the view '{view}', and there are "
                            f"{', '.join(sorted(glimpse.pictures))}; say which with --model.options=[views=[NAME]]"
                        )
            rows = [np.stack([g.pictures[view] for g in question.window]) for question in questions]
            frames = torch.from_numpy(np.stack(rows)).permute(0, 1, 4, 2, 3).float() / 255
            batch[key] = frames
        [wrapped] = self._wrapped
        if self.kind == "reward_classifier":
            shapes = wrapped.config.input_features
            now = {key: _resized(batch[key][:, -1], tuple(shapes[key].shape[-2:])) for key in self._keys}
            seen = self._prepare({**batch, **now})
            said = wrapped.predict([seen[key] for key in self._keys]).probabilities
            chance = said if said.ndim == 1 else said[:, -1]
            return [float(p) for p in chance]
        with warnings.catch_warnings():
            # Its processor asks for a length and for no cutting to it, which transformers wonders about at every call.
            warnings.filterwarnings("ignore", message="`max_length` is ignored")
            prepared = self._prepare(batch)
        rewards = wrapped.compute_reward(prepared)
        found = [math.exp(min(float(r), 0.0)) if self.kind == "topreward" else float(r) for r in rewards]
        return [min(max(value, 0.0), 1.0) for value in found]


def _processor(kind: str, config: Any, source: str) -> Any:
    """What prepares a batch: for a classifier, the one saved with it, which knows the pictures' statistics."""
    if kind != "reward_classifier":
        return make_reward_pre_post_processors(config)[0]
    from lerobot.processor import PolicyProcessorPipeline

    try:
        return PolicyProcessorPipeline.from_pretrained(source, config_filename="classifier_preprocessor.json")
    except (FileNotFoundError, ValueError) as error:
        raise UserError(
            f"'{source}' has no classifier_preprocessor.json with the statistics of its pictures; "
            "save its processors beside it"
        ) from error


def _views(config: LerobotConfig, names: list[str]) -> list[str]:
    """Our views that stand for those which a checkpoint looks at: of the same name, unless others are given."""
    if not config.views or set(names) <= set(config.views):
        return names
    if len(config.views) != len(names):
        raise UserError(
            f"'{config.checkpoint}' looks at {len(names)} views ({', '.join(names)}); name as many in views"
        )
    return config.views


def _image_keys(kind: str, config: Any) -> list[str]:
    return list(config.input_features) if kind == "reward_classifier" else [config.image_key]


def _resized(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """[B, C, H, W] to the height and width that a classifier was made for."""
    return images if tuple(images.shape[-2:]) == size else interpolate(images, size, mode="area")
