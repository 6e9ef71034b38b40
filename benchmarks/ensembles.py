"""Do several models judge better together than alone?

    python benchmarks/ensembles.py [--quick] [--models …] [--seeds 0 1 2] [--output_dir=DIR] [--results=FILE]

The members are models of ours as `reward_accuracy.py` trains them with these seeds, image extractor included: each of
the models with each of the seeds, by default `multiview_sarm` with three. Given that benchmark's --output_dir, nothing
is trained again. They are made one model as `train` does, calibrated on the validation episodes that none of them took
gradients on, and judged on the same episodes as they are alone. Prints a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import reward_accuracy
from judge.adapter import Adapter, Answers, Material, slug, write_whole
from judge.features import SCHEME, episodes_of
from judge.measure import UNSEEN, Judged, load_cases, summarise
from judge.models import ABLATION, ADAPTERS
from judge.models.own import OwnModel
from judge.sets import SETS
from provenance import provenance
from reward_accuracy import ENCODER, Run, Scale

from progress_datasets.episodes import EpisodeDataset
from progress_envs.names import task_names
from progress_rm import load_model
from progress_rm.data import EpisodeFeatures
from progress_rm.models.ensemble.modeling_ensemble import EnsembleRewardModel
from progress_rm.scores import ScoredTask, write_scores

KINDS = {**ADAPTERS, **ABLATION}
OURS = [name for name, make in KINDS.items() if isinstance(make(), OwnModel)]

SHOWN = ("mse", "success_auroc", "failure_balanced_accuracy", "success_ece", "tau_a")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Train what is missing, judge each alone and all together; prints and returns the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="two tasks, two seeds, few of everything: does it run?"
    )
    parser.add_argument("--tasks", nargs="+", choices=task_names(), help="simulated tasks; by default all")
    parser.add_argument("--models", nargs="+", choices=OURS, default=OURS[:1], help="the members' families")
    parser.add_argument("--seeds", nargs="+", type=int, help="of the members; by default 0 1 2")
    parser.add_argument("--output_dir", type=Path, help="that of reward_accuracy.py, or a new one")
    parser.add_argument("--results", type=Path, help="write the JSON to this file, too")
    options = parser.parse_args(argv)
    tasks = options.tasks or (["PickPlace", "TidyTable"] if options.quick else task_names())
    seeds = options.seeds or ([0, 1] if options.quick else [0, 1, 2])
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.output_dir or Path(scratch)
        run = Run(folder, tasks, reward_accuracy.QUICK if options.quick else Scale(), ENCODER)
        members = [(KINDS[name], seed) for name in options.models for seed in seeds]
        judged = [Judged(f"{make().name}, seed {s}", {0: run.judge(make, s)[1]}) for make, s in members]
        judged.append(Judged("ensemble", {0: together(run, members)}))
        found = summarise(judged, "ensemble", tasks)
    summary = {
        "sets": {name: compare(found["models"], group) for name, group in GROUPS.items()},
        "models": found["models"],
        "against_ensemble": found["against_ours"],
        "members": [one.name for one in judged[:-1]],
        "tasks": len(tasks),
        "quick": options.quick,
        **provenance(__file__, argv),
    }
    for name, rows in summary["sets"].items():
        print(f"\n{name:<24}{'ensemble':>10}{'alone':>10}   of each")
        for key, row in rows["metrics"].items():
            each = "  ".join(f"{value:.3f}" for value in row["members"])
            print(f"  {key:<26}{row['ensemble']:>6.3f}{row['mean_member']:>10.3f}   {each}")
        if rows["failure_error_cut"] is not None:
            print(f"  error of telling failures from successes cut by {rows['failure_error_cut']:.0%}")
    if options.results is not None:
        write_whole(options.results, summary)
    print(json.dumps(summary))
    return summary


GROUPS = {"test": "test", "policy": "policy", "shifted": UNSEEN[0]}


def compare(models: dict[str, Any], group: str) -> dict[str, Any]:
    """The ensemble beside its members on one set of episodes; what cannot be measured on them is left out."""
    metrics: dict[str, Any] = {}
    for key in SHOWN:
        members = [one["all"][group][key] for name, one in models.items() if name != "ensemble"]
        if None in members:
            continue
        metrics[key] = {
            "ensemble": models["ensemble"]["all"][group][key],
            "mean_member": float(np.mean(members)),
            "members": members,
        }
    found = metrics.get("failure_balanced_accuracy")
    if found is None or found["mean_member"] == 1:
        return {"metrics": metrics, "failure_error_cut": None}
    return {
        "metrics": metrics,
        "failure_error_cut": 1 - (1 - found["ensemble"]) / (1 - found["mean_member"]),
    }


def together(run: Run, members: Sequence[tuple[Callable[[], Adapter], int]]) -> dict[str, Any]:
    """The cases of the ensemble, by set."""
    models, materials, names = [], {}, []
    for make, seed in members:
        adapter = make()
        encoder = getattr(adapter, "encoder_name", None) or run.encoder
        names.append(f"{adapter.name}-{seed}")
        models.append(load_model(run.trained(adapter, encoder, seed) / "best"))
        # Members with the same extractor read the same features.
        material = run.material(encoder, seed)
        materials[material.encoder.key] = material
    model, distinct = EnsembleRewardModel.of(models), list(materials.values())
    model.calibrate(joined([material.validation for material in distinct]))
    name = f"ensemble:{slug('+'.join(names))}"
    for group in SETS:
        for dataset in run.datasets[group]:
            path = run.scores(name, 0, group, dataset.root.name)
            if not path.exists():
                write(model, dataset, distinct, run.folder / "features", path)
    return {
        group: load_cases(run.datasets[group], [run.scores(name, 0, group, task) for task in run.tasks])
        for group in SETS
    }


def write(
    model: EnsembleRewardModel,
    dataset: EpisodeDataset,
    materials: Sequence[Material],
    features: Path,
    path: Path,
) -> None:
    """The ensemble's scores of one dataset."""
    spec = materials[0].kinds[dataset.root.name]
    episodes = joined([episodes_of(dataset, material, features) for material in materials])
    answers = {}
    for number, episode in enumerate(episodes):
        track = model.track(episode)
        answers[number] = Answers(
            track.progress,
            track.success,
            np.asarray(spec.stages)[track.stage_probs.argmax(1)],
            track.uncertainty,
        )
    write_scores(
        path,
        dataset,
        answers,
        reward_model_path="ensemble",
        tasks={
            task: ScoredTask(tuple(spec.stages), tuple(spec.priors), spec.length_s) for task in dataset.tasks
        },
        label_scheme=SCHEME,
    )


def joined(by_member: Sequence[Sequence[EpisodeFeatures]]) -> list[EpisodeFeatures]:
    """The same episodes with the features of every member's extractor side by side."""
    return [
        replace(
            same[0],
            features={
                view: np.concatenate([episode.features[view] for episode in same], axis=1)
                for view in same[0].features
            },
        )
        for same in zip(*by_member, strict=True)
    ]


if __name__ == "__main__":
    main()
