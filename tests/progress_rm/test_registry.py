"""Families by name: their list is the docs' table, and a name that is not known gets the nearest one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import progress_rm
from progress_datasets.errors import UserError
from progress_rm.models import FAMILIES
from progress_rm.models.registry import families_table, nearest
from progress_rm.option_fields import select

DOCS = Path(__file__).parents[2] / "docs"


def test_the_list_says_what_each_is_for() -> None:
    families = progress_rm.registered_models()
    assert [family.name for family in families] == sorted(FAMILIES)
    for family in families:
        assert family.purpose
        assert "\n" not in family.purpose
        assert family.needs
        assert family.causal.startswith("yes")


def test_the_table_in_the_docs_is_made_from_it() -> None:
    page = (DOCS / "models.md").read_text(encoding="utf-8")
    assert families_table() in page, "write progress_rm.models.registry.families_table() into docs/models.md"


def test_unknown_names_get_the_nearest(tmp_path: Path) -> None:
    assert nearest("procvml", FAMILIES) == "did you mean 'procvlm'?"
    assert nearest("xyz", ["a", "b"]) == "there are a, b"
    with pytest.raises(UserError, match="did you mean 'procvlm'"):
        select(dict(FAMILIES), "procvml", None, "model.")
    (tmp_path / "config.json").write_text(json.dumps({"type": "mutliview_sarm"}))
    with pytest.raises(UserError, match="did you mean 'multiview_sarm'"):
        progress_rm.load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="is the checkpoint whole"):
        progress_rm.load_model(tmp_path)
