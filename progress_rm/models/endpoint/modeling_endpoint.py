"""`endpoint`: a vision-language model behind an OpenAI-compatible address says what remains, then the progress."""

from __future__ import annotations

import base64
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_rm.models.asking import Answer, Question
from progress_rm.models.endpoint.configuration_endpoint import EndpointConfig
from progress_rm.models.procvlm.questions import (
    current_stage,
    messages,
    pictures,
    read_percentages,
    read_reply,
)
from progress_rm.models.protocols import ProtocolModel

_BUSY = (429, 500, 502, 503, 504)


class EndpointRewardModel(ProtocolModel):
    """Asks over HTTP; it has no weights, so training only learns tasks and calibration.

    Args:
        config: options; `tasks` and `url` must be filled.
        dataset_stats: unused.
        dataset_meta: unused.

    Raises:
        UserError: there are no tasks, or no address.
    """

    config_class = EndpointConfig
    name = "endpoint"

    def __init__(self, config: EndpointConfig, dataset_stats: Any = None, dataset_meta: Any = None) -> None:
        super().__init__(config)
        if not config.url.startswith(("http://", "https://")):
            raise UserError("endpoint has no address; give --model.url=http://HOST:PORT/v1")
        if not config.tasks:
            raise UserError(
                "endpoint knows no task yet; give its address as --model.path, or train it with 'progress-rm train'"
            )

    @cached_property
    def model_name(self) -> str:
        """The model that is asked."""
        if self.config.model_name:
            return str(self.config.model_name)
        listed = self._call("models", None).get("data") or []
        if not listed:
            raise UserError(f"{self.config.url} lists no model; name one as model_name")
        return str(listed[0]["id"])

    def ask_what_remains(self, questions: Sequence[Question]) -> list[Answer | None]:
        """See `ProtocolModel.ask_what_remains`; the questions are under way at the same time."""
        replies = self._replies(questions, "progress")
        return [self._answer(question, text) for question, text in zip(questions, replies, strict=True)]

    def percentages(self, questions: Sequence[Question]) -> list[list[tuple[float, float | None]] | None]:
        """See `ProtocolModel.percentages`."""
        replies = self._replies(questions, "shuffled")
        read = [read_percentages(text, len(q.order)) for q, text in zip(questions, replies, strict=True)]
        return [None if values is None else [(value, None) for value in values] for values in read]

    def _replies(self, questions: Sequence[Question], kind: str) -> list[str]:
        name = self.model_name
        with ThreadPoolExecutor(max_workers=len(questions)) as threads:
            return list(threads.map(lambda question: self._reply(question, name, kind), questions))

    def _reply(self, question: Question, name: str, kind: str) -> str:
        waiting = iter(pictures(question))
        conversation = messages(question, kind)
        content = [
            {"type": "image_url", "image_url": {"url": _data_url(next(waiting))}}
            if part["type"] == "image"
            else part
            for part in conversation[0]["content"]
        ]
        stages = self.config.tasks[question.task].stages
        known = f" The actions of this task are: {'; '.join(stages)}." if len(stages) > 1 else ""
        form = (
            f"{known} Reply with two lines and nothing else:\n"
            "Remaining: ACTION; ACTION\n<progress>NN.NN%</progress>\n"
            "where the first says none if no action remains."
            if kind == "progress"
            else " Write nothing else."
        )
        asked = {
            "model": name,
            "messages": [{"role": "user", "content": [*content, {"type": "text", "text": form}]}],
            "temperature": 0,
            "max_tokens": self.config.max_tokens,
        }
        found = self._call("chat/completions", asked)
        try:
            return str(found["choices"][0]["message"]["content"] or "")
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"{self.config.url} does not answer as OpenAI's API does: {found}") from error

    def _answer(self, question: Question, text: str) -> Answer | None:
        reply = read_reply(text)
        if reply is None:
            return None
        task = self.config.tasks[question.task]
        probs = np.zeros(len(task.stages))
        probs[current_stage(reply, task)] = 1.0
        return Answer(reply.progress, probs)

    def _call(self, what: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """One request; asked again, after a pause, where the endpoint is busy or out of order."""
        config = self.config
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(config.api_key_env, ""):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            f"{config.url.rstrip('/')}/{what}",
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
        )
        for attempt in range(config.retries + 1):
            try:
                with urllib.request.urlopen(request, timeout=config.timeout_s) as response:
                    found: dict[str, Any] = json.load(response)
                    return found
            except urllib.error.HTTPError as error:
                if error.code not in _BUSY or attempt == config.retries:
                    said = " ".join(error.read(300).decode(errors="replace").split())
                    remedy = (
                        f"; is the key in {config.api_key_env} right?" if error.code in (401, 403) else ""
                    )
                    raise UserError(
                        f"{config.url} refuses: {error.code} {error.reason} {said}{remedy}"
                    ) from error
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                if attempt == config.retries:
                    raise UserError(f"{config.url} cannot be reached ({error}); is it running?") from error
            except ValueError as error:
                raise UserError(
                    f"{config.url} does not answer with JSON; give the address with /v1"
                ) from error
            time.sleep(0.5 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")


def _data_url(picture: NDArray[np.uint8]) -> str:
    import cv2

    done, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode()}"
