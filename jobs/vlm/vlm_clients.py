"""Clients of vision language model endpoints, each through its provider's own library."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from jobs.core.errors import one_line
from jobs.core.redaction import Redaction
from jobs.vlm.redaction import redaction_of
from transforms.assess.escalation import SCHEMA, Api, EscalateParams, misfit

if TYPE_CHECKING:
    from jobs.core.bounded_http import RefusedAnswerError

PACKAGES: Mapping[Api, str] = {"openai": "openai", "anthropic": "anthropic", "gemini": "google.genai"}

_NAME = "verdicts"
_AGAIN = frozenset({408, 409, 425, 429})
_FOR_ALL = frozenset({401, 402, 403, 404, 405})
_MOST_LETTERS = 300
_MOST_TOKENS = 10_000_000


@dataclass(frozen=True)
class Reply:
    """An endpoint's answer, and the tokens that it counted; None for a count that cannot be believed."""

    text: str
    tokens_in: int | None
    tokens_out: int | None


class EndpointError(Exception):
    """There was no answer. `again`: a retry may help, after `wait_s` if given; `for_all`: every call would fail."""

    def __init__(self, text: str, again: bool = False, wait_s: float | None = None, for_all: bool = False) -> None:
        self.again = again
        self.wait_s = wait_s
        self.for_all = for_all
        super().__init__(text)


class Asked(Protocol):
    """A question about an image."""

    @property
    def text(self) -> str:
        """Return the prompt."""

    @property
    def system(self) -> str:
        """Return the system prompt."""

    @property
    def prompt_hash(self) -> str:
        """Return a hash of everything but the image."""


class Client(Protocol):
    """An endpoint that answers prompts about images."""

    def ask(self, question: Asked, jpeg: bytes) -> Reply:
        """Return the answer. Raises `EndpointError`."""


def connect(params: EscalateParams, key: str | None, schema: Mapping[str, Any] = SCHEMA) -> Client:
    """Return a client for the endpoint, whose answers have a schema.

    Libraries do not retry by themselves, since attempts are accounted for.
    """
    kinds: Mapping[Api, Callable[[EscalateParams, str, Mapping[str, Any]], Client]]
    kinds = {"openai": _OpenAi, "anthropic": _Anthropic, "gemini": _Gemini}
    kind = kinds[params.api]
    return _Careful(kind(params, key or "none", schema), redaction_of(key))


class _Careful:
    """Turns every failure into an `EndpointError`, and removes keys from errors and answers."""

    def __init__(self, client: Client, hide: Redaction) -> None:
        self._client = client
        self._hide = hide

    def ask(self, question: Asked, jpeg: bytes) -> Reply:
        try:
            reply = self._client.ask(question, jpeg)
            return replace(reply, text=self._hide(reply.text))
        except Exception as error:
            # The libraries' errors quote and reference the request, with its key.
            failure = self._failure(error)
        raise failure

    def _failure(self, error: Exception) -> EndpointError:
        if refused := _refused(error):
            return EndpointError(self._hide(one_line(refused)), for_all=refused.for_all)
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        said = misfit(error) if isinstance(error, ValidationError) else one_line(error)
        text = self._hide(f"{type(error).__name__}: {said}")
        text = text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"
        if not isinstance(status, int) or status < 400:
            # No answer, a timeout, an incomplete or an invalid answer.
            return EndpointError(text, again=True)
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        again = status in _AGAIN or status >= 500
        return EndpointError(text, again, retry_after_s(headers) if again else None, status in _FOR_ALL)


def _refused(error: BaseException | None) -> RefusedAnswerError | None:
    """Return why an answer was not taken, which the libraries wrap in errors of their own."""
    from jobs.core.bounded_http import RefusedAnswerError

    while error is not None:
        if isinstance(error, RefusedAnswerError):
            return error
        error = error.__cause__ or error.__context__
    return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return how long an endpoint asks to wait, in seconds or until a date; None if it does not."""
    given = headers.get("retry-after") or headers.get("Retry-After")
    if not given:
        return None
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


class _OpenAi:
    def __init__(self, params: EscalateParams, key: str, schema: Mapping[str, Any]) -> None:
        import openai

        from jobs.core.bounded_http import BoundedClient

        self._client = openai.OpenAI(
            api_key=key,
            base_url=params.url or "https://api.openai.com/v1",
            http_client=BoundedClient(params.timeout_s),
            max_retries=0,
        )
        self._params = params
        self._schema = dict(schema)
        self._model = params.model or ""

    def ask(self, question: Asked, jpeg: bytes) -> Reply:
        url = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        said: Any = [
            {"role": "system", "content": question.system},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": question.text},
                    {"type": "image_url", "image_url": {"url": url}},
                ],
            },
        ]
        form: Any = {"type": "json_schema", "json_schema": {"name": _NAME, "schema": self._schema, "strict": True}}
        # Local servers support `max_tokens`; the newest models of OpenAI only `max_completion_tokens`.
        limit: dict[str, Any] = {"max_tokens" if self._params.url else "max_completion_tokens": self._params.max_tokens}
        answer = self._client.chat.completions.create(model=self._model, messages=said, response_format=form, **limit)
        choices = getattr(answer, "choices", None)
        if not choices or choices[0].message is None:
            raise ValueError("expected choices in the answer, as in chat completions, found none")
        usage = answer.usage
        counted = (_count(usage, "prompt_tokens"), _count(usage, "completion_tokens")) if usage else (0, 0)
        return Reply(choices[0].message.content or "", *counted)


class _Anthropic:
    def __init__(self, params: EscalateParams, key: str, schema: Mapping[str, Any]) -> None:
        import anthropic

        from jobs.core.bounded_http import BoundedClient

        self._client = anthropic.Anthropic(
            api_key=key,
            base_url=params.url or "https://api.anthropic.com",
            http_client=BoundedClient(params.timeout_s),
            max_retries=0,
        )
        self._params = params
        self._schema = dict(schema)
        self._model = params.model or ""

    def ask(self, question: Asked, jpeg: bytes) -> Reply:
        source = {"type": "base64", "media_type": "image/jpeg", "data": base64.b64encode(jpeg).decode()}
        content: Any = [{"type": "image", "source": source}, {"type": "text", "text": question.text}]
        tool: Any = {"name": _NAME, "description": "Record the verdicts.", "input_schema": self._schema}
        choice: Any = {"type": "tool", "name": _NAME}
        answer = self._client.messages.create(
            model=self._model,
            max_tokens=self._params.max_tokens,
            system=question.system,
            messages=[{"role": "user", "content": content}],
            tools=[tool],
            tool_choice=choice,
        )
        parts = getattr(answer, "content", None)
        if parts is None:
            raise ValueError("expected content in the answer, as in messages, found none")
        given = next((part.input for part in parts if part.type == "tool_use"), None)
        usage = getattr(answer, "usage", None)
        counted = _count(usage, "input_tokens"), _count(usage, "output_tokens")
        return Reply("" if given is None else json.dumps(given), *counted)


class _Gemini:
    def __init__(self, params: EscalateParams, key: str, schema: Mapping[str, Any]) -> None:
        from google import genai
        from google.genai import types

        from jobs.core.bounded_http import BoundedClient

        self._types = types
        options = types.HttpOptions(
            base_url=params.url,
            timeout=round(params.timeout_s * 1000),
            retry_options=types.HttpRetryOptions(attempts=1),
            httpx_client=BoundedClient(params.timeout_s),
        )
        self._client = genai.Client(api_key=key, vertexai=False, http_options=options)
        self._params = params
        self._schema = dict(schema)
        self._model = params.model or ""

    def ask(self, question: Asked, jpeg: bytes) -> Reply:
        types = self._types
        image = types.Part.from_bytes(data=jpeg, mime_type="image/jpeg")
        config = types.GenerateContentConfig(
            system_instruction=question.system,
            max_output_tokens=self._params.max_tokens,
            response_mime_type="application/json",
            response_json_schema=self._schema,
        )
        contents: Any = [image, types.Part.from_text(text=question.text)]
        answer = self._client.models.generate_content(model=self._model, contents=contents, config=config)
        usage = answer.usage_metadata
        counted = (_count(usage, "prompt_token_count"), _written(usage)) if usage else (0, 0)
        return Reply(answer.text or "", *counted)


def _written(usage: Any) -> int | None:
    """Return the tokens of an answer, including those of its reasoning, which are billed as well."""
    given, thought = _count(usage, "candidates_token_count"), _count(usage, "thoughts_token_count")
    return None if given is None or thought is None else given + thought


def _count(usage: Any, name: str) -> int | None:
    """Return a number of tokens that an endpoint has counted, 0 where it has none; None if it cannot be one."""
    value = getattr(usage, name, None)
    if value is None:
        return 0
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None
