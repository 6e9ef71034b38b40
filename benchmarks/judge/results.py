"""The results as people read them: a table, a page in Markdown, and a plot of all models on the same episodes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from judge.measure import HEADLINE, USUAL, Judged
from progress_rm.cases import EpisodeCases

COLUMNS = (*HEADLINE, "shifted_mse")
LABELS = {
    "mse": "MSE",
    "tau_a": "Kendall τ-a",
    "rho": "rollout ρ",
    "success_auroc": "success AUROC",
    "failure_balanced_accuracy": "failure bal. acc.",
    "ece": "success ECE",
    "epic": "EPIC",
    "shifted_mse": "shifted MSE",
}
ARROWS = dict.fromkeys(COLUMNS, "↑") | dict.fromkeys(("mse", "ece", "epic", "shifted_mse"), "↓")


def print_table(summary: Mapping[str, Any]) -> None:
    """The headline of every model."""
    width = max(len(name) for name in summary["models"]) + 2
    print("\n" + " " * width + "".join(f"{LABELS[c]:>19}" for c in COLUMNS))
    for name, row in summary["models"].items():
        print(f"{name:<{width}}" + "".join(f"{_text(row[c]):>19}" for c in COLUMNS))
    print()


def page(
    summary: Mapping[str, Any], judged: Sequence[Judged], tasks: Sequence[str], folder: Path, stem: str
) -> None:
    """Write `stem`.json, .md and .png."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    moments = instructive(judged[0])
    draw(judged, moments, tasks, folder / f"{stem}.png")
    (folder / f"{stem}.md").write_text(_markdown(summary, moments, tasks, stem), encoding="utf-8")


def _markdown(
    summary: Mapping[str, Any],
    moments: Mapping[str, tuple[str, int, EpisodeCases]],
    tasks: Sequence[str],
    stem: str,
) -> str:
    models, scale = summary["models"], summary["scale"]
    counts = summary["episodes"]
    lines = [
        "# How far is the task? Reward models on the same frames and features",
        "",
        *_written_by(summary),
        "",
        f"{summary['tasks']} simulated tasks ({', '.join(tasks)}), {_seeds(summary['seeds'])} of training. "
        f"{counts['train']} demonstrations to learn from (expert, hesitant, clumsy, failing; 15 % of them kept for "
        f"validation), {counts['test']} other episodes of these and of `fooling` demonstrators, {counts['policy']} "
        f"rollouts of half-trained policies (behaviour cloning on the simulator's state, stopped early; most "
        f"after an expert has led in), {counts['shifted']} episodes in unseen colours, light and camera poses. "
        "The judge is the simulator's true progress.",
        "",
        f"All models read the features of one {summary['encoder']}, trained once a seed for {scale['encoder_steps']} "
        "steps on single training frames (stage, position in it, complete or not) and frozen; each then takes "
        f"{scale['budget']['samples']} gradient samples of each task. The stage-aware models have the same annotations "
        "as the extractor; the others get features that know of stages, which by themselves they would not have. "
        "Peers are tuned on the validation episodes, and their probability of success is calibrated there so that it "
        "suits the last frames that are judged; ours and the clocks run as they are."
        + (" In this quick run nothing was tuned." if not scale["budget"]["trial"] else ""),
        "",
        "## All tasks",
        "",
        "Test episodes and half-trained policies together; the last column is the shifted scenes. Means over seeds, "
        "below them 95 % intervals over episodes (bootstrap within tasks).",
        "",
        _header(["model", *(f"{LABELS[c]} {ARROWS[c]}" for c in COLUMNS)]),
    ]
    for name, row in models.items():
        cells = [f"{_text(row[c])}<br>{_range(row['intervals'][c])}" for c in COLUMNS]
        lines.append(_row([f"`{name}`", *cells]))
    lines += ["", "## What each is", ""]
    lines += [f"- `{name}`: {about}" for name, about in summary["about"].items()]
    if summary["against_ours"]:
        lines += [
            "",
            "## Against ours",
            "",
            "Difference to `multiview_sarm` with its interval over the same resamples, and in how many of all tasks "
            "and seeds `multiview_sarm` is better.",
            "",
            _header(["model", *(LABELS[c] for c in COLUMNS)]),
        ]
        for name, rows in summary["against_ours"].items():
            cells = [
                f"{_text(rows[c]['difference'], sign=True)}<br>{_range(rows[c]['interval'])}<br>"
                f"{rows[c]['ours_better']} of {rows[c]['of']}"
                for c in COLUMNS
            ]
            lines.append(_row([f"`{name}`", *cells]))
    for short in ("mse", "tau_a", "success_auroc"):
        lines += ["", f"## {LABELS[short]} by task", "", _header(["task", *(f"`{n}`" for n in models)])]
        for task in tasks:
            lines.append(_row([task, *(_text(summary["per_task"][task][n][short]) for n in models)]))
    lines += ["", "## MSE by who acts", "", _header(["", *(f"`{n}`" for n in models)])]
    for quality in next(iter(models.values()))["by_quality"]:
        lines.append(_row([quality, *(_text(row["by_quality"][quality]) for row in models.values())]))
    for group in next(iter(models.values()))["all"]:
        keys = list(next(iter(models.values()))["all"][group])
        lines += ["", f"## Every metric: {group}", "", _header(["metric", *(f"`{n}`" for n in models)])]
        lines += [_row([key, *(_text(row["all"][group][key]) for row in models.values())]) for key in keys]
    lines += ["", "## The same episodes", "", f"![Every model on the same episodes]({stem}.png)", ""]
    lines += [
        f"- {title}: {tasks[e.source]}, {group} episode {e.episode} ({e.quality})"
        for title, (group, _, e) in moments.items()
    ]
    lines += ["", "## What was tuned", "", "```json", json.dumps(summary["tuned"], indent=1), "```", ""]
    return "\n".join(lines)


def instructive(judged: Judged) -> dict[str, tuple[str, int, EpisodeCases]]:
    """Episodes worth looking at, by what they show: the set, the place in it, and the episode."""
    first = next(iter(judged.seeds.values()))
    everything = [(group, i, e) for group in USUAL for i, e in enumerate(first[group])]

    def truth(entry: tuple[str, int, EpisodeCases]) -> Any:
        return entry[2].model.true_progress

    def drop(entry: tuple[str, int, EpisodeCases]) -> float:
        """Largest fall within a second, of episodes that go on."""
        p, step = truth(entry), max(1, round(entry[2].model.fps))
        return float(np.max(p[:-step] - p[step:], initial=0)) if len(p) > step else 0.0

    def undo(entry: tuple[str, int, EpisodeCases]) -> float:
        """Largest fall below what was reached, in episodes that succeed all the same."""
        p = truth(entry)
        return float(np.max(np.maximum.accumulate(p) - p)) if entry[2].model.succeeded else 0.0

    def pause(entry: tuple[str, int, EpisodeCases]) -> float:
        """Longest stillness midway in a demonstration, in seconds."""
        p, longest, now = truth(entry), 0, 0
        if entry[2].quality not in ("hesitant", "clumsy"):
            return 0.0
        for before, after in pairwise(p):
            now = now + 1 if abs(after - before) < 1e-3 and 0.05 < after < 0.95 else 0
            longest = max(longest, now)
        return longest / entry[2].model.fps

    def fooled(entry: tuple[str, int, EpisodeCases]) -> float:
        return float(truth(entry)[-1]) if entry[2].quality == "fooling" else 0.0

    def policy(entry: tuple[str, int, EpisodeCases]) -> float:
        """A policy that got somewhere and not to the end."""
        end = float(truth(entry)[-1])
        return end * (1 - end) if entry[2].quality == "policy" else 0.0

    chosen: dict[str, tuple[str, int, EpisodeCases]] = {}
    for title, score in {
        "a drop": drop,
        "an undo": undo,
        "a pause": pause,
        "a fooling end": fooled,
        "a half-trained policy": policy,
    }.items():
        left = [entry for entry in everything if entry not in chosen.values()]
        best = max(left, key=score)
        if score(best) > 0:
            chosen[title] = best
    return chosen


def draw(
    judged: Sequence[Judged],
    moments: Mapping[str, tuple[str, int, EpisodeCases]],
    tasks: Sequence[str],
    path: Path,
) -> None:
    """Every model's curve, with its first seed, on the instructive episodes; the truth in black."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(moments), 1, figsize=(9, 2.6 * len(moments)), squeeze=False)
    colours = mpl.colormaps["tab10"].colors
    for axis, (title, (group, place, episode)) in zip(axes[:, 0], moments.items(), strict=True):
        seconds = np.arange(len(episode.model.progress)) / episode.model.fps
        for number, one in enumerate(judged[:10]):
            answer = next(iter(one.seeds.values()))[group][place].model.progress
            axis.plot(seconds, answer, color=colours[number], lw=2 if number == 0 else 1, label=one.name)
        axis.plot(seconds, episode.model.true_progress, color="black", lw=1.5, ls="--", label="truth")
        axis.set(
            title=f"{title}: {tasks[episode.source]}, {episode.quality}",
            ylim=(-0.03, 1.03),
            ylabel="progress",
        )
        axis.grid(alpha=0.3)
    axes[-1, 0].set_xlabel("seconds")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, fontsize=8)
    figure.tight_layout(rect=(0, 0.16 / len(moments) + 0.03, 1, 1))
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _written_by(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for part in summary.get("made_by", [summary]):
        lines.append(
            f"Written by `{part['command']}` at commit {part['commit']} on {part['date']}; {part['machine']}."
        )
    if "made_by" in summary:
        seeds = {name: " ".join(row["seeds"]) for name, row in summary["models"].items()}
        lines += ["", "Seeds: " + "; ".join(f"`{name}` {which}" for name, which in seeds.items()) + "."]
    return lines


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _header(cells: Sequence[str]) -> str:
    return _row(cells) + "\n" + _row(["---"] * len(cells))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(value: float | None, sign: bool = False) -> str:
    if value is None:
        return "–"
    digits = 4 if abs(value) < 0.1 else 3
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _range(bounds: Sequence[float] | None) -> str:
    return "–" if bounds is None else f"[{_text(bounds[0])}, {_text(bounds[1])}]"
