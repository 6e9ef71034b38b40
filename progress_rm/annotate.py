"""`progress-rm annotate`: stage annotations from one form to another, or proposed where nobody has made any."""

from __future__ import annotations

from dataclasses import dataclass

from progress_datasets import annotate
from progress_datasets.annotations import form_named
from progress_datasets.errors import UserError
from progress_datasets.options import require
from progress_datasets.segments import Outcome

METHODS = ("perceptual",)


@dataclass
class Config(annotate.Config):
    """Convert stage annotations from one form to another, or propose some (--method)."""

    method: str = ""
    """Propose stages instead of reading some: perceptual (steps discovered in the successful episodes)."""
    steps: int = 0
    """How many stages to propose; 0: as many as explain most of what differs between moments."""
    encoder: str = "classical"
    """Image encoder that proposals look through: classical, or transformers:NAME_OR_PATH."""
    cache_dir: str = ""
    """Where extracted features are kept; by default the user's cache folder."""


def run(config: Config) -> None:
    """Convert or propose, and say what was written.

    Raises:
        UserError: see `progress_datasets.annotate.run`; or there is no such method, or nothing can be proposed.
    """
    if not config.method:
        return annotate.run(config)
    if config.method not in METHODS:
        raise UserError(f"--method={config.method} is unknown; choose {' or '.join(METHODS)}")
    if config.from_form or config.from_file:
        raise UserError(
            "--method proposes stages, so --from_form and --from_file have no meaning; leave them out"
        )
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.cache import cache_folder
    from progress_rm.data import FeatureCache
    from progress_rm.models.perceptual.configuration_perceptual import PerceptualConfig
    from progress_rm.proposals import propose_steps

    dataset = EpisodeDataset(require(config.dataset.root, "--dataset.root", "name the dataset"))
    annotate.check_target(dataset, config)
    options = PerceptualConfig(encoder=config.encoder, steps=config.steps)
    cache = FeatureCache(cache_folder(config.cache_dir), options.frozen_encoder())
    found = propose_steps([dataset], cache, steps=options.steps)
    keeps = config.to != annotate.KEYFRAMES and form_named(config.to).carries_outcomes
    kept = {e: s for (_, e), s in found.items() if keeps or s[0].outcome == Outcome.SUCCESS}
    annotate.write(dataset, kept, config)
    if len(kept) < len(found):
        print(
            f"note: '{config.to}' cannot say that a stage failed, so {len(found) - len(kept)} failed episodes have none"
        )
