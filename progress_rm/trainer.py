"""The training loop: the encoder on single frames, then the heads on cached features."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from progress_datasets.episodes import EpisodeDataset
from progress_rm.augment import AugmentConfig, augment_frames
from progress_rm.checkpoints import load_training, save_model, save_training, whole_folder
from progress_rm.data import EpisodeFeatures, FeatureCache, TrainingData, load_episodes
from progress_rm.encoders.base import Encoder
from progress_rm.frames import FrameCache
from progress_rm.models.base import ProgressModelConfig, ProgressRewardModel
from progress_rm.recoloured import in_wrong_colours
from progress_rm.train import Config


class Trainer:
    """Runs under `accelerate launch` as well: every process draws its own batches, process 0 writes."""

    def __init__(self, config: Config, model: ProgressRewardModel, output: Path) -> None:
        self.config, self.output = config, output
        forget_precision()
        self.accelerator = Accelerator(
            mixed_precision=precision(config.mixed_precision),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        self.model = model.to(self.accelerator.device)

    @property
    def encoder_is_trained(self) -> bool:
        """Whether `train_encoder` has something to do."""
        return bool(getattr(self.model, "encoder_is_trained", False)) and self.config.encoder_steps > 0

    def train_encoder(self, data: TrainingData) -> None:
        """Train all weights on single frames, with their pixels; the encoder is frozen afterwards."""
        model = cast(Any, self.model)
        frames = FrameCache(self.output / "frames", model.config.image_size)
        if self.accelerator.is_main_process:
            shown = [*data.episodes, *data.mismatched]
            frames.fill([episode.source for episode in shown], model.config.views)
        self.accelerator.wait_for_everyone()
        self.model.learn_statistics(data)
        draw = lambda rng: model.sample_frames(data, frames, rng, self.config.encoder_batch_size)  # noqa: E731
        self._loop("encoder", self.config.encoder_steps, draw)
        model.encoder().requires_grad_(False)

    def train_heads(self, data: TrainingData, validation: Sequence[EpisodeFeatures]) -> float | None:
        """Train on windows of cached features; leaves the best checkpoint loaded, returns its validation error."""
        if not self.model.is_trainable:
            return None
        draw = lambda rng: self.model.sample(data, rng, self.config.batch_size)  # noqa: E731
        check = (lambda: validation_error(self.model, validation)) if validation else None
        return self._loop("heads", self.config.steps, draw, check)

    def _loop(
        self,
        phase: str,
        steps: int,
        draw: Callable[[np.random.Generator], dict[str, Any]],
        check: Callable[[], float] | None = None,
    ) -> float | None:
        """AdamW with warm-up and cosine decay; everything drawn depends on (seed, phase, step, process) alone."""
        config, accelerator = self.config, self.accelerator
        trained = [p for p in self.model.parameters() if p.requires_grad]
        options = self.model.config
        optimizer = torch.optim.AdamW(trained, lr=options.learning_rate, weight_decay=options.weight_decay)
        folder, best_folder = self.output / phase, self.output / f"{phase}-best"
        progress = load_training(folder, self.model, optimizer) or {"step": 0, "best": None}
        wrapped, optimizer = accelerator.prepare(self.model, optimizer)
        best: float | None = progress["best"]
        writer = SummaryWriter(str(self.output / "logs")) if accelerator.is_main_process else None
        bar = tqdm(
            total=steps,
            initial=progress["step"],
            desc=f"train {phase}",
            disable=not accelerator.is_main_process,
        )

        def key_of(step: int) -> list[int]:
            return [config.seed, 0 if phase == "encoder" else 1, step, accelerator.process_index]

        coming = _drawn_ahead(lambda step: draw(np.random.default_rng(key_of(step))), progress["step"], steps)
        for step, batch in coming:
            key = key_of(step)
            torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * schedule(step, steps)
            wrapped.train()
            with accelerator.autocast():
                loss, parts = wrapped(batch)
            optimizer.zero_grad()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            bar.update()
            if writer is not None and step % 10 == 0:
                bar.set_postfix(loss=f"{loss.item():.3f}", **{k: f"{v:.2f}" for k, v in parts.items()})
                for name, value in {"loss": loss.item(), **parts}.items():
                    writer.add_scalar(f"{phase}/{name}", value, step)
            if (step + 1) % config.validate_every and step + 1 < steps:
                continue
            if accelerator.is_main_process:
                if check is not None:
                    error = check()
                    bar.write(f"step {step + 1}: validation mse {error:.5f}")
                    cast(SummaryWriter, writer).add_scalar(f"{phase}/validation_mse", error, step)
                    if best is None or error < best:
                        best = error
                        save_model(self.model, best_folder)
                save_training(
                    folder, self.model, cast(Any, optimizer).optimizer, {"step": step + 1, "best": best}
                )
            accelerator.wait_for_everyone()
        bar.close()
        if writer is not None:
            writer.close()
        self.model = accelerator.unwrap_model(wrapped)
        if best is not None and (chosen := whole_folder(best_folder)) is not None:
            from safetensors.torch import load_model

            load_model(self.model, chosen / "model.safetensors")
        return best


def _drawn_ahead(
    draw: Callable[[int], dict[str, Any]], start: int, stop: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Steps and their batches, the next one drawn in a thread while this one is used."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting = thread.submit(draw, start) if start < stop else None
        for step in range(start, stop):
            assert waiting is not None
            batch = waiting.result()
            waiting = thread.submit(draw, step + 1) if step + 1 < stop else None
            yield step, batch


def forget_precision() -> None:
    """To be called before a training: Accelerate keeps the precision of a process's first one.

    A second one that asks for another is refused, and one that asks for nothing would silently get it.
    """
    AcceleratorState._reset_state()


def precision(option: str) -> str:
    """What "auto" means on this machine."""
    if option != "auto":
        return option
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    can = torch.cpu.get_capabilities()
    return "bf16" if can.get("amx_bf16", False) or can.get("avx512_bf16", False) else "no"


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear warm-up over a twentieth of the steps, then half a cosine to zero."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def validation_error(model: ProgressRewardModel, episodes: Sequence[EpisodeFeatures]) -> float:
    """Mean squared error of progress against the labels, each episode alike."""
    errors = []
    for episode in episodes:
        assert episode.labels is not None
        errors.append(float(np.mean((model.track(episode).progress - episode.labels.progress) ** 2)))
    return float(np.mean(errors))


def load_sources(
    sources: Sequence[tuple[EpisodeDataset, int]], cache: FeatureCache, config: ProgressModelConfig
) -> list[EpisodeFeatures]:
    """Load labelled episodes of several datasets: dataset after dataset, each one's in the order given."""
    datasets = {id(dataset): dataset for dataset, _ in sources}
    loaded: list[EpisodeFeatures] = []
    for dataset in datasets.values():
        mine = [episode for other, episode in sources if other is dataset]
        loaded += load_episodes(
            dataset,
            cache,
            tasks=config.tasks,
            scheme=config.label_scheme,
            episodes=mine,
            use_state=getattr(config, "use_state", True),
            views=getattr(config, "views", ()),
        )
    return loaded


def load_mismatched(
    sources: Sequence[tuple[EpisodeDataset, int]], cache: FeatureCache, config: ProgressModelConfig, seed: int
) -> list[EpisodeFeatures]:
    """These episodes in wrong colours, unlabelled, for models that are to say when a task is not the one they see."""
    if not hasattr(config, "wrong_instruction"):
        return []
    loaded = load_sources(in_wrong_colours(sources, seed), cache, config)
    return [replace(episode, labels=None) for episode in loaded]


def with_copies(
    episodes: Sequence[EpisodeFeatures],
    encoder: Encoder,
    count: int,
    frames: FrameCache,
    seed: int,
    fps: float,
    augmentation: AugmentConfig | None = None,
    mirror: float = 0.0,
) -> list[EpisodeFeatures]:
    """The episodes and `count` augmented copies of each: other camera poses, other light; `encoder` is trained.

    A share `mirror` of the copies is seen in a mirror, where the task may be; see `has_sides`. The joints of an arm in
    a mirror are not known, so these have no state.
    """
    copies = list(episodes)
    if not copies or count == 0:
        return copies

    frames.fill([episode.source for episode in episodes], sorted({v for e in episodes for v in e.features}))
    for copy in tqdm(range(count), desc="augment", unit="copy"):
        for i, episode in enumerate(episodes):
            features, mirrored = {}, copy < round(mirror * count) and not has_sides(episode.task)
            for v, view in enumerate(sorted(episode.features)):
                pixels = frames.read(episode.source, view)
                assert pixels is not None
                if mirrored:
                    pixels = np.ascontiguousarray(pixels[:, :, ::-1])
                rng = np.random.default_rng([seed, copy, i, v])
                features[view] = encoder.encode(augment_frames(pixels, rng, augmentation, fps=fps)).astype(
                    np.float16
                )
            copies.append(replace(episode, features=features, state=None if mirrored else episode.state))
    return copies


def has_sides(instruction: str) -> bool:
    """Whether it speaks of left or right, so that a mirror would show another task."""
    return re.search(r"\b(left|right|clockwise|counter-?clockwise)\b", instruction, re.IGNORECASE) is not None
