"""Reward-model families. Importing this package registers their options with LeRobot."""

from __future__ import annotations

from progress_rm.models.clock.configuration_clock import ClockConfig
from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig

FAMILIES = {"multiview_sarm": MultiviewSarmConfig, "clock": ClockConfig}
"""Name → options; a new family is one package and one line here."""

__all__ = ["FAMILIES", "ClockConfig", "MultiviewSarmConfig"]
