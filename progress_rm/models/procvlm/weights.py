"""The vision-language model itself, and the adapters that are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from progress_datasets.errors import UserError
from progress_rm.models.procvlm.chat import no_model

if TYPE_CHECKING:
    from pathlib import Path

    from progress_rm.models.procvlm.configuration_procvlm import ProcvlmConfig

_VISION = r".*(visual|vision|image).*"


def load_vlm(config: ProcvlmConfig) -> Any:
    """The model that `config.vlm` names, with adapters if there are to be any.

    Raises:
        UserError: it cannot be loaded, or peft is not installed.
    """
    import transformers

    try:
        vlm: Any = transformers.AutoModelForImageTextToText.from_pretrained(
            config.vlm, dtype=dtype_of(config)
        )
    except (OSError, ValueError) as error:
        raise no_model(config.vlm, error) from error
    if config.lora_rank:
        vlm = _adapted(vlm, config)
    if config.gradient_checkpointing:
        vlm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        vlm.enable_input_require_grads()
    return vlm


def dtype_of(config: ProcvlmConfig) -> torch.dtype:
    """What "auto" means where the model is to run."""
    if config.dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[config.dtype]
    on_gpu = str(config.device).startswith("cuda") and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if on_gpu else torch.float32


def _adapted(vlm: Any, config: ProcvlmConfig) -> Any:
    try:
        import peft
    except ImportError as error:
        raise UserError(
            "adapters need peft; install it with: pip install 'progress-rm[vlm]', or set --model.lora_rank=0"
        ) from error
    options = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=config.lora_targets,
        exclude_modules=None if config.lora_vision else _VISION,
    )
    try:
        vlm = peft.inject_adapter_in_model(options, vlm)
    except ValueError as error:
        raise UserError(
            f"--model.lora_targets={config.lora_targets}: {str(error).splitlines()[0]}"
        ) from error
    for parameter in vlm.parameters():
        if parameter.requires_grad:
            # Small steps would be lost in the rounding of 16 bits.
            parameter.data = parameter.data.float()
    return vlm


def export_merged(vlm: Any, processor: Any, folder: Path) -> None:
    """Write the model with its adapters merged into its weights, as transformers and others load it."""
    layers = [m for m in vlm.modules() if callable(getattr(m, "merge", None)) and hasattr(m, "base_layer")]
    for layer in layers:
        layer.merge()
    try:
        weights = {
            name.replace(".base_layer.", "."): value
            for name, value in vlm.state_dict().items()
            if ".lora_" not in name
        }
        vlm.save_pretrained(folder, state_dict=weights)
        processor.save_pretrained(folder)
    finally:
        for layer in layers:
            layer.unmerge()


def learned_names(vlm: nn.Module) -> set[str]:
    """Names of the weights that training finds, and that a checkpoint holds."""
    return {name for name, parameter in vlm.named_parameters() if parameter.requires_grad}
