"""What a stage's name says of action primitives, and what a user's table changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from progress_datasets.errors import UserError
from progress_envs.names import task_names
from progress_envs.task import load_task
from progress_rm.models.sarm2.primitives import GROUP_OF, GROUPS, PRIMITIVES, VERBS, primitives_of


def test_the_table_is_in_order() -> None:
    assert len(PRIMITIVES) == len(set(PRIMITIVES)) == len(GROUP_OF) == 22
    assert PRIMITIVES[0] == "null"
    assert len(GROUPS) == 8
    assert {name for names in VERBS.values() for name in names} == set(PRIMITIVES)


@pytest.mark.parametrize("task", task_names())
def test_every_simulated_stage_says_its_primitives(task: str) -> None:
    assert all("null" not in found for found in primitives_of(load_task(task).stages))


@pytest.mark.parametrize(
    ("stage", "primitives"),
    [
        ("grasp", ["grasp"]),
        ("reach handle", ["reach"]),
        ("fold again", ["fold"]),
        ("second press", ["reach", "press"]),
        ("close", ["reach", "push"]),
        ("Pick up the red cup", ["reach", "grasp", "lift"]),
        (
            "pick up the cup and place it on the shelf",
            ["reach", "grasp", "lift", "move", "place", "release"],
        ),
        ("pour_water_into_the_glass", ["pour"]),
        ("wait, then unfold the left sleeve", ["null", "unfold"]),
        ("hand over the screwdriver", ["hand over"]),
        # A noun behind the verb says nothing.
        ("push the press", ["push"]),
    ],
)
def test_real_names_are_understood(stage: str, primitives: list[str]) -> None:
    assert primitives_of([stage]) == [primitives]


def test_a_name_that_says_nothing_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        UserError, match=r"'subtask7'.*'subtask7: \[reach, push\]'.*--model.primitives=TABLE.yaml"
    ):
        primitives_of(["reach", "subtask7"])


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_users_table_goes_first(tmp_path: Path, suffix: str) -> None:
    table = tmp_path / f"table.{suffix}"
    if suffix == "yaml":
        table.write_text("Subtask7: [reach, push]\nslide: wipe\n")
    else:
        table.write_text('{"Subtask7": ["reach", "push"], "slide": "wipe"}')
    assert primitives_of(["subtask7", "slide the sponge", "lift"], table) == [
        ["reach", "push"],
        ["wipe"],
        ["lift"],
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no file"),
        ("a: [b", "neither YAML nor JSON"),
        ("- reach", "holds no table"),
        ("a: []", "give 'a' a primitive"),
        ("a: 3", "give 'a' a primitive"),
        ("a: [graps]", "did you mean 'grasp'"),
        ("a: [xyz]", "choose from null, reach"),
    ],
)
def test_a_table_that_is_not_in_order(tmp_path: Path, content: str | None, message: str) -> None:
    table = tmp_path / "table.yaml"
    if content is not None:
        table.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        primitives_of(["reach"], table)
    assert "\n" not in str(caught.value)
