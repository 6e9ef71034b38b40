"""Options of `endpoint`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lerobot.configs.rewards import RewardModelConfig

from progress_datasets.errors import UserError
from progress_rm.models.protocols import ProtocolConfig


@RewardModelConfig.register_subclass("endpoint")
@dataclass
class EndpointConfig(ProtocolConfig):
    """Any vision-language model behind an OpenAI-compatible address, asked as `procvlm` is."""

    needs: ClassVar[str] = "an address; annotated demonstrations only to calibrate it"

    url: str = ""
    """The address up to and with /v1."""
    model_name: str = ""
    """The model there; by default the first that it lists."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key, where one is needed. The key itself is kept nowhere."""
    timeout_s: float = 120.0
    """Seconds to wait for a reply."""
    max_tokens: int = 256
    """Length of a reply at most."""
    retries: int = 2
    """How often to ask again when the endpoint is busy or out of order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.timeout_s <= 0 or self.max_tokens < 1 or self.retries < 0:
            raise UserError("timeout_s and max_tokens must be positive, and retries not negative")
