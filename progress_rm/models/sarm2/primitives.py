"""Action primitives that all tasks share, and which of them a stage consists of, told by its name.

A stage's name is cut at "and", "then" and commas; the first word of each part that is a key of `VERBS` says what is
done there: "pick up the cup and place it on the shelf" is reach, grasp, lift, move, place, release. A table of the user
comes first: its keys are whole stage names, or words as in `VERBS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import yaml

from progress_datasets.errors import UserError

GROUPS: dict[str, tuple[str, ...]] = {
    "approach": ("null", "reach", "retreat"),
    "grip": ("grasp",),
    "carry": ("lift", "move", "hand over"),
    "put": ("place", "release"),
    "force": ("push", "pull", "press"),
    "fit": ("align", "insert", "remove", "turn"),
    "treat": ("wipe", "stir", "pour", "cut"),
    "cloth": ("fold", "unfold"),
}
"""The primitives by the group that has a gate of its own; `null` is when nothing is done."""

PRIMITIVES: tuple[str, ...] = tuple(name for group in GROUPS.values() for name in group)
"""21 primitives and `null`, which comes first."""

GROUP_OF: tuple[int, ...] = tuple(g for g, names in enumerate(GROUPS.values()) for _ in names)
"""Index of each primitive's group."""

_PICK, _PLACE = ("reach", "grasp", "lift"), ("move", "place", "release")
_OPEN, _CLOSE = ("reach", "grasp", "pull"), ("reach", "push")

VERBS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in PRIMITIVES if name not in ("place", "press", "hand over")},
    **dict.fromkeys(("idle", "wait", "pause", "none", "done", "rest"), ("null",)),
    **dict.fromkeys(("approach", "touch"), ("reach",)),
    **dict.fromkeys(("return", "home", "withdraw"), ("retreat",)),
    **dict.fromkeys(("grip", "grab", "hold", "pinch"), ("grasp",)),
    **dict.fromkeys(("raise", "hoist"), ("lift",)),
    **dict.fromkeys(("carry", "transport", "transfer", "bring"), ("move",)),
    **dict.fromkeys(("hand", "handover", "pass"), ("hand over",)),
    **dict.fromkeys(("pick", "take", "get", "collect", "fetch"), _PICK),
    **dict.fromkeys(("place", "put", "store", "stack", "set", "deliver", "stow"), _PLACE),
    **dict.fromkeys(("lower", "lay"), ("place",)),
    **dict.fromkeys(("drop", "ungrasp"), ("release",)),
    **dict.fromkeys(("sort", "tidy", "rearrange"), _PICK + _PLACE),
    **dict.fromkeys(("press", "click", "tap"), ("reach", "press")),
    "open": _OPEN,
    "close": _CLOSE,
    "shut": _CLOSE,
    **dict.fromkeys(("slide", "shove"), ("push",)),
    **dict.fromkeys(("drag", "tug"), ("pull",)),
    **dict.fromkeys(("position", "orient", "aim"), ("align",)),
    **dict.fromkeys(("plug", "fit", "mount"), ("align", "insert")),
    **dict.fromkeys(("unplug", "extract"), ("remove",)),
    **dict.fromkeys(("rotate", "twist", "screw", "unscrew", "flip"), ("turn",)),
    **dict.fromkeys(("clean", "scrub", "sweep", "erase", "mop"), ("wipe",)),
    **dict.fromkeys(("mix", "scoop"), ("stir",)),
    "fill": ("pour",),
    "slice": ("cut",),
    **dict.fromkeys(("unroll", "flatten", "spread", "straighten"), ("unfold",)),
}
"""What a verb in a stage's name means."""


def primitives_of(stages: Sequence[str], table: str | Path = "") -> list[list[str]]:
    """The primitives of each stage, in the order in which they are usually done.

    Args:
        stages: stage names.
        table: YAML or JSON file of the user: stage name or word → a primitive or a list of them; it goes first.

    Raises:
        UserError: the table cannot be read or names an unknown primitive, or a stage's name says nothing.

    Example:
        >>> primitives_of(["pick red cube", "grasp again"])
        [['reach', 'grasp', 'lift'], ['grasp']]
    """
    own = _read_table(Path(table)) if table else {}
    return [_primitives_of(stage, own) for stage in stages]


def _primitives_of(stage: str, own: Mapping[str, tuple[str, ...]]) -> list[str]:
    name = stage.lower().strip()
    if name in own:
        return list(own[name])
    rules = {**VERBS, **own}
    found: list[str] = []
    for part in re.split(r"\band\b|\bthen\b|[,;+&/]", name):
        known = next((rules[word] for word in re.findall(r"[^\W\d_]+", part) if word in rules), ())
        found += [primitive for primitive in known if primitive not in found]
    if not found:
        raise UserError(
            f"the stage '{stage}' names no action primitive; write a table with a line such as "
            f"'{stage}: [reach, push]' and pass it with --model.primitives=TABLE.yaml "
            f"(there are {', '.join(PRIMITIVES)})"
        )
    return found


def _read_table(path: Path) -> dict[str, tuple[str, ...]]:
    if not path.is_file():
        raise UserError(
            f"--model.primitives={path} is no file; give a YAML or JSON file of 'stage: primitives'"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"--model.primitives={path} is neither YAML nor JSON ({reason})") from error
    if not isinstance(content, dict):
        raise UserError(
            f"--model.primitives={path} holds no table; write lines such as 'pick: [reach, grasp]'"
        )
    table: dict[str, tuple[str, ...]] = {}
    for stage, value in content.items():
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not names:
            raise UserError(f"--model.primitives={path}: give '{stage}' a primitive or a list of them")
        for name in names:
            if name not in PRIMITIVES:
                close = get_close_matches(str(name), PRIMITIVES, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(PRIMITIVES)}"
                raise UserError(f"--model.primitives={path}: '{stage}' has no primitive '{name}'; {hint}")
        table[str(stage).lower().strip()] = tuple(names)
    return table
