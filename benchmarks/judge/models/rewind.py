"""ReWiND's idea, written by us on our own network: t/T of successful demonstrations, with rewound videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from judge.adapter import Adapter, Budget, Material, Raw, mean_error, slug, tuned
from judge.models.multiview_sarm import without_stages
from judge.models.own import train_network
from progress_rm.data import EpisodeFeatures


class Rewind(Adapter):
    """Progress is the share of the video gone by; windows that run backwards and wrong instructions teach it to fall.

    The target and the augmentations are those of ReWiND (arXiv 2505.10911). The network is `multiview_sarm`'s with a
    single stage, so it has every view, the state, the instruction and, if that helps, the filter. It learns from the
    successful demonstrations, as t/T of a failure means nothing, but its checkpoint and options are chosen by the
    stage annotations, which ReWiND would not have.
    """

    name = "rewind"
    about = (
        "ReWiND's target (t/T of successes, rewound videos, wrong instructions → 0), written by us on "
        "multiview_sarm's network: every view, state, one model for all tasks; learning rate, spacing of the window "
        "and its growth, share of rewound windows and filter tuned on validation."
    )
    axes: Mapping[str, Any] = {
        "use_filter": [False, True],
        "spacing_s": [0.5, 1.0],
        "learning_rate": [1e-3, 3e-4],
        "rewind": [0.5, 0.8],
        "spacing_growth": [1.0, 1.8],
    }

    def __init__(self) -> None:
        super().__init__()
        self._model: Any = None

    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """One network for all tasks."""
        flat = without_stages(material, "clock")
        successes = [e for e in flat.training if e.labels is not None and e.labels.done.any()]
        flat = replace(flat, training=successes)

        def trained(options: Mapping[str, Any], time: Budget) -> Any:
            home = folder / slug(f"{time.samples}," + ",".join(f"{k}={v}" for k, v in options.items()))
            return train_network(flat, time, seed, home, {"bins": 40, **options})

        def error(options: Mapping[str, Any]) -> float:
            model = trained(options, budget.of_trials)
            return mean_error([model.track(e).progress for e in flat.validation], material.validation)

        self._model = trained(tuned(self.axes, error if budget.trial else None, choices / "all.json"), budget)

    def ask(self, episode: EpisodeFeatures) -> Raw:
        """The network's own track."""
        track = self._model.track(episode)
        return Raw(track.progress, track.success, None, track.uncertainty)
