"""Reward-model families. Importing this package registers their options with LeRobot."""

from __future__ import annotations

from progress_rm.models.clock.configuration_clock import ClockConfig
from progress_rm.models.endpoint.configuration_endpoint import EndpointConfig
from progress_rm.models.ensemble.configuration_ensemble import EnsembleConfig
from progress_rm.models.grm.configuration_grm import GrmConfig
from progress_rm.models.lerobot.configuration_lerobot import LerobotConfig
from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig
from progress_rm.models.perceptual.configuration_perceptual import PerceptualConfig
from progress_rm.models.procvlm.configuration_procvlm import ProcvlmConfig
from progress_rm.models.sarm2.configuration_sarm2 import Sarm2Config
from progress_rm.models.vlm_rm.configuration_vlm_rm import VlmRmConfig

FAMILIES = {
    "multiview_sarm": MultiviewSarmConfig,
    "sarm2": Sarm2Config,
    "grm": GrmConfig,
    "procvlm": ProcvlmConfig,
    "endpoint": EndpointConfig,
    "lerobot": LerobotConfig,
    "perceptual": PerceptualConfig,
    "vlm_rm": VlmRmConfig,
    "clock": ClockConfig,
    "ensemble": EnsembleConfig,
}
"""Name → options; a new family is one package and one line here."""

__all__ = [
    "FAMILIES",
    "ClockConfig",
    "EndpointConfig",
    "EnsembleConfig",
    "GrmConfig",
    "LerobotConfig",
    "MultiviewSarmConfig",
    "PerceptualConfig",
    "ProcvlmConfig",
    "Sarm2Config",
    "VlmRmConfig",
]
