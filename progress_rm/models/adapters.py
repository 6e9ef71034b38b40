"""Which family of ours speaks for a checkpoint that is not ours, or for an address."""

from __future__ import annotations

from urllib.parse import urlsplit

from progress_datasets.errors import UserError
from progress_rm.models.base import ProgressModelConfig, any_task


def adapter_of_checkpoint(kind: str, source: str) -> ProgressModelConfig:
    """Options to answer with one of LeRobot's reward models.

    Args:
        kind: its registered name.
        source: its folder or Hub id.

    Raises:
        UserError: it cannot be asked causally, or nobody here can ask it.
    """
    from progress_rm.models.lerobot.configuration_lerobot import LerobotConfig, defaults_of

    return LerobotConfig(checkpoint=source, tasks=[any_task()], **defaults_of(kind, source))


def adapter_of_url(url: str) -> ProgressModelConfig:
    """Options to answer with an OpenAI-compatible endpoint.

    Raises:
        UserError: the address is not http or https.
    """
    from progress_rm.models.endpoint.configuration_endpoint import EndpointConfig

    if urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"'{url}' is no address of an endpoint; write http://HOST:PORT/v1")
    return EndpointConfig(url=url, tasks=[any_task()])
