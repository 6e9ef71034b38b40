"""What every test runs under: one thread a process, no network, no cache in the user's home."""

from __future__ import annotations

import importlib.metadata
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import hypothesis
import pytest

_CACHE = tempfile.mkdtemp(prefix="progress-rm-tests-")

# Set before anything imports torch or huggingface_hub; subprocesses of tests inherit it.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HOME"] = _CACHE
os.environ["PROGRESS_RM_CACHE"] = f"{_CACHE}/progress-rm"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

# Same examples every time, and no deadline: a shared machine is slow at odd moments.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True, max_examples=50, database=None)
hypothesis.settings.load_profile("house")


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Keep torch to one thread, without importing it for tests that do not need it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def temporary_cache() -> Iterator[Path]:
    """The Hugging Face cache of this run, removed at its end."""
    yield Path(_CACHE)
    shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.fixture(scope="session")
def forked() -> Callable[..., Any]:
    """Calls something in a process of its own that need not import LeRobot anew, half a minute on a slow machine.

    A fork must not meet OpenGL's threads: whatever draws there has to draw with `raycast`.
    """

    def begin(target: Callable[..., object], *arguments: Any) -> Any:
        process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
        with warnings.catch_warnings():
            # Python warns of forks beside threads. These here only wait.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        return process

    return begin


@pytest.fixture(scope="session")
def run_script(forked: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[int, str]]:
    """Runs an installed package's command, forked; its exit code and what it printed."""
    said = tmp_path_factory.mktemp("said") / "output.txt"

    def child(main: Callable[[], object], words: Sequence[str]) -> None:
        with said.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr, sys.argv = open(1, "w"), open(2, "w"), list(words)  # noqa: SIM115
        main()

    def run(words: Sequence[str]) -> tuple[int, str]:
        (script,) = importlib.metadata.entry_points(group="console_scripts", name=words[0])
        process = forked(child, script.load(), words)
        process.join(240)
        process.kill()
        process.join()
        assert process.exitcode is not None
        return process.exitcode, said.read_text(encoding="utf-8", errors="replace")

    return run


VLM_TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
    "{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif c.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Qwen3-VL of 175,000 random weights with its processor: the real architecture and code, in no time."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    folder = tmp_path_factory.mktemp("vlm") / "model"
    letters = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=VLM_TOKENS, initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(
        ["user assistant Task Remaining Actions Next progress slide lift none True now start ago"] * 2,
        trainer,
    )
    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=VLM_TOKENS,
        extra_special_tokens={
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "vision_start_token": "<|vision_start|>",
            "vision_end_token": "<|vision_end|>",
        },
    )
    grey = [0.5] * 3
    patches = {
        "patch_size": 8,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": grey,
        "image_std": grey,
    }
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(size={"shortest_edge": 256, "longest_edge": 4096}, **patches),
        words,
        Qwen3VLVideoProcessor(size={"shortest_edge": 256, "longest_edge": 65536}, **patches),
        chat_template=CHAT_TEMPLATE,
    )
    ids = {name: words.convert_tokens_to_ids(name) for name in VLM_TOKENS}
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(words),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 4096,
            "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True},
            "initializer_range": 0.2,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 8,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "out_hidden_size": 64,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
            "initializer_range": 0.2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_topreward(tiny_vlm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a checkpoint of LeRobot's TOPReward around the tiny model, for the view front."""
    from lerobot.rewards.topreward.configuration_topreward import TOPRewardConfig

    folder = tmp_path_factory.mktemp("topreward")
    TOPRewardConfig(
        vlm_name=str(tiny_vlm), torch_dtype="float32", image_key="observation.images.front", device="cpu"
    )._save_pretrained(folder)
    return folder


class Loopback:
    """An OpenAI-compatible endpoint on the loopback device.

    Attributes:
        url: its address.
        replies: what it says, in turn; the last one ever after. A number is an HTTP status.
        asked: the requests' bodies.
        keys: the requests' authorisations.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.replies: list[str | int] = []
        self.forget()

    def forget(self) -> None:
        """Be as new."""
        self.asked.clear()
        self.keys.clear()
        self.replies[:] = ["Remaining: none\n<progress>100.00%</progress>"]

    def answer(self) -> str | int:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture
def loopback(running_loopback: Loopback) -> Loopback:
    """A running endpoint, which knows nothing of other tests."""
    running_loopback.forget()
    return running_loopback


@pytest.fixture(scope="session")
def running_loopback() -> Iterator[Loopback]:
    state, lock = Loopback(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"data": [{"id": "a-model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                state.asked.append(body)
                state.keys.append(self.headers["Authorization"])
                said = state.answer()
            if isinstance(said, int):
                self.send_error(said)
            else:
                self._send({"choices": [{"message": {"role": "assistant", "content": said}}]})

        def _send(self, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
