"""`progress-rm report`: one self-contained HTML page on how a reward model does, which opens offline."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from progress_datasets.errors import UserError
from progress_datasets.options import DatasetsOptions
from progress_rm.evaluate import evaluate, load_scored
from progress_rm.report.build import write_report
from progress_rm.report.learning import learn_from
from progress_rm.score import ModelOptions
from progress_rm.weights import WeightOptions

__all__ = ["Config", "run", "write_report"]


@dataclass
class Config:
    """Write one HTML page on how a reward model does on held-out episodes."""

    dataset: DatasetsOptions = field(default_factory=DatasetsOptions)
    """Held-out episodes."""
    scores: list[Path] = field(default_factory=list)
    """Parquet files that progress-rm score wrote, one a dataset; by default sarm_progress.parquet in each dataset."""
    model: ModelOptions = field(default_factory=ModelOptions)
    """Score the datasets with this model first, instead of reading scores; they are kept beside the output."""
    cache_dir: str = ""
    """Where extracted features are kept when scoring; by default the user's cache folder."""
    output: Path = Path("report.html")
    """HTML file to write."""
    title: str = "Progress report"
    """Headline of the page."""
    episodes: int = 3
    """How many episodes to show of each quality of each task, spread evenly from the best to the worst."""
    chunk: int = 0
    """Frames of a policy's action chunk, for the weights that RA-BC would give; 0: one second."""
    weights: WeightOptions = field(default_factory=WeightOptions)
    """How progress becomes those weights."""
    clock_length_seconds: float | None = None
    """Length of the causal clock where the scores do not say it: the mean length of a successful training episode."""


def run(config: Config) -> Path:
    """Evaluate and write `config.output`."""
    if config.output.exists():
        raise UserError(f"{config.output} exists already; remove it or choose another --output")
    if config.episodes < 1:
        raise UserError(f"--episodes={config.episodes} shows nothing; give 1 or more")
    if config.chunk < 0:
        raise UserError(f"--chunk={config.chunk} is no number of frames; give 0 or more")
    scored = load_scored(config.dataset.roots(), config.scores, config.model, config.output, config.cache_dir)
    metrics = evaluate(scored, clock_length_seconds=config.clock_length_seconds)
    learning = learn_from(scored, config.weights, config.chunk)
    path = write_report(
        config.output, metrics, scored, title=config.title, episodes=config.episodes, learning=learning
    )
    print(f"written to {path}")
    return path
