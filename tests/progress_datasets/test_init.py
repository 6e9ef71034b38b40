"""The package's public names, each imported when asked for."""

from __future__ import annotations

import pytest

import progress_datasets


def test_public_names() -> None:
    for name in progress_datasets._PLACES:
        assert getattr(progress_datasets, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'datasets'"):
        progress_datasets.datasets  # noqa: B018 - the access is the test
