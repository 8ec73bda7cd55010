"""Prompt to a vision language model about an uncertain frame, and validation of its answer."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import cv2
from annotated_types import Ge, Gt, Le
from blake3 import blake3
from pydantic import BaseModel, ConfigDict, ValidationError

from transforms.frames.image import Color

Api = Literal["openai", "anthropic", "gemini"]

KEYS: Mapping[Api, str] = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
}
"""The environment variable with an endpoint's key, if `key_env` is not set."""

_TERMS: Mapping[Api, tuple[str, str]] = {
    "openai": ("api.openai.com", "OpenAI terms of use"),
    "anthropic": ("api.anthropic.com", "Anthropic commercial terms of service"),
    "gemini": ("generativelanguage.googleapis.com", "Gemini API additional terms of service"),
}
"""The host of each provider's own endpoint, and the licence of its answers."""

_QUALITY = 90
_GRID = 1000
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
_OTHERS = re.compile(
    "(AWS|AZURE|GOOGLE|GCP|GCLOUD|CLOUDFLARE|DIGITALOCEAN|GITHUB|GH|GITLAB|CI|HF|HUGGING|WINNOW|RAY|KUBE|DOCKER|NPM|PYPI"
    "|TWINE|UV|PIP|SLACK|STRIPE|SENTRY|VAULT|SSH|GPG|PG|POSTGRES|MYSQL|REDIS|MONGO|DATABASE|DB|SMTP|LDAP|WANDB|MLFLOW)"
    "|.*(PASSWORD|PASSWD|SECRET|PRIVATE_KEY|CREDENTIALS)"
)
"""Names of variables that hold secrets of other services, unless they end in `_API_KEY`."""
_NAME_HERE = re.compile(r"[a-z](?:[a-z0-9_-]*[a-z0-9])?")
_SYSTEM = (
    "You check the work of an object detector on frames of a camera. Look at the picture and judge each numbered box: "
    "keep it if there is an object of its category just there; relabel it if the object there is of another category "
    "of the list; drop it if there is none. Under missing, name the category of every object that has no box, once "
    "for each object. Use no categories but those of the list."
)


@dataclass(frozen=True)
class EscalateParams:
    """Which vision language model reviews uncertain frames, and what it may cost.

    `api`: protocol of the endpoint. Most servers support `openai`, local ones too.
    `url`: address of the endpoint, such as `http://localhost:8000/v1`; none for the provider's own.
    `model`: the model's name at the endpoint.
    `licence`: licence of the model's answers, for the manifests of exports; none for the provider's terms, if the
    endpoint is the provider's own.
    `key_env`: name of the environment variable that holds the key; none for `OPENAI_API_KEY`, `ANTHROPIC_API_KEY` or
    `GEMINI_API_KEY`, which go to the provider's own address only. A local endpoint needs none.
    `long_side`: longer side, in pixels, of the image that is sent.
    `max_tokens`: the longest answer, in tokens.
    `attempts`: how many invalid answers are accepted before a request fails, and how often a run tries a request.
    `timeout_s`: the longest time to wait for an answer.
    `per_minute`: the most requests in a minute.
    `parallel`: the most concurrent requests.
    `wait_s`: the longest wait that an endpoint may ask for; for a longer one, the next run continues.
    `usd_in`, `usd_out`: price of a million tokens, of the prompt and of the answer.
    `max_usd`: the most that a run may cost; no request is sent that could cost more than what is left.
    """

    api: Api = "openai"
    url: str | None = None
    model: str | None = None
    licence: str | None = None
    key_env: str | None = None
    long_side: Annotated[int, Ge(64), Le(8192)] = 1024
    max_tokens: Annotated[int, Ge(64), Le(65536)] = 2048
    attempts: Annotated[int, Ge(1), Le(20)] = 4
    timeout_s: Annotated[float, Gt(0)] = 60.0
    per_minute: Annotated[float, Gt(0)] = 60.0
    parallel: Annotated[int, Ge(1), Le(64)] = 4
    wait_s: Annotated[float, Ge(0)] = 120.0
    usd_in: Annotated[float, Ge(0)] = 0.0
    usd_out: Annotated[float, Ge(0)] = 0.0
    max_usd: Annotated[float, Gt(0)] = 1.0

    @property
    def is_local(self) -> bool:
        """Return whether the endpoint is on this machine or in its private network."""
        host = (urlsplit(self.url).hostname or "") if self.url else ""
        address = _address(host)
        if address is not None:
            return address.is_private
        return bool(_NAME_HERE.fullmatch(host)) or host.endswith((".local", ".internal", ".localhost"))

    @property
    def terms(self) -> str | None:
        """Return the licence of the answers, None if unknown: any server may implement a provider's protocol."""
        return self.licence or (_TERMS[self.api][1] if self.is_own else None)

    @property
    def is_own(self) -> bool:
        """Return whether the endpoint is the provider's own."""
        return not self.url or urlsplit(self.url).hostname == _TERMS[self.api][0]

    @property
    def key_name(self) -> str | None:
        """Return the name of the environment variable with the key; None where no key is sent."""
        return self.key_env or (KEYS[self.api] if self.is_own else None)

    def unsafe(self) -> Iterator[str]:
        """Yield a message for each setting that may contain a key, which must not be stored; never its value."""
        if self.key_env is not None and not _VARIABLE.fullmatch(self.key_env):
            yield "escalate.key_env: expected the name of an environment variable, never a key itself"
        elif self.key_env is not None and self._is_of_others(self.key_env):
            yield (
                f"escalate.key_env: {self.key_env} holds the secret of another service, which would be sent to the "
                "endpoint; expected a variable with the key of the endpoint alone"
            )
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                yield "escalate.url: expected http://… or https://…"
            elif parts.username or parts.password or parts.query:
                yield "escalate.url: expected a URL without credentials; keys come from the environment alone"

    def _is_of_others(self, name: str) -> bool:
        if name in KEYS.values():
            return name != KEYS[self.api] or not self.is_own
        return bool(_OTHERS.match(name)) and not name.endswith("_API_KEY")

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the settings when the stage is used."""
        if not self.model:
            yield "escalate.model: expected the name of a model, found nothing"
        yield from self.unsafe()
        if not self.is_local and self.key_name is None:
            yield (
                f"escalate.key_env: expected the name of the variable with the key of the endpoint; {KEYS[self.api]} "
                "goes to the provider's own address only"
            )
        if not self.is_local and not (self.usd_in and self.usd_out):
            yield (
                "escalate.usd_in, escalate.usd_out: expected what a million tokens cost, without which "
                "escalate.max_usd bounds nothing; found 0"
            )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address of a host as programs that connect to it interpret it; None for a name."""
    try:
        # Also a single number, fewer than four of them, octal and hexadecimal: 134744072 is 8.8.8.8.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        pass
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # Python counts all IPv4-mapped IPv6 addresses as private, also those of public IPv4 addresses.
    return getattr(address, "ipv4_mapped", None) or address


class ObjectVerdict(BaseModel):
    """The model's verdict on one box; `category` is the new one of an object that is relabelled."""

    model_config = ConfigDict(extra="forbid", strict=True)

    number: int
    verdict: Literal["keep", "drop", "relabel"]
    category: str | None


class Answer(BaseModel):
    """The schema of the model's answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    objects: list[ObjectVerdict]
    missing: list[str]


SCHEMA: dict[str, Any] = Answer.model_json_schema()


@dataclass(frozen=True)
class Question:
    """The prompt about a frame: its boxes, numbered from 1, and the categories."""

    text: str
    ids: tuple[str, ...]
    shown: tuple[dict[str, Any], ...]
    categories: tuple[str, ...]
    long_side: int

    @property
    def system(self) -> str:
        """Return the system prompt."""
        return _SYSTEM

    @property
    def prompt_hash(self) -> str:
        """Return a hash of everything but the image."""
        parts = [self.system, self.text, SCHEMA, self.long_side]
        return blake3(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def call_id(self, model: str, content_hash: str) -> str:
        """Return the id of the call of a model with this prompt and an image."""
        return blake3("\x1f".join([model, self.prompt_hash, content_hash]).encode()).hexdigest()[:32]

    def verdicts(self, answer: Answer) -> list[dict[str, Any]]:
        """Return the answer as verdicts on objects by their ids."""
        by_number = {each.number: each for each in answer.objects}
        return [
            {
                "annotation_id": name,
                "verdict": by_number[number].verdict,
                "category": by_number[number].category if by_number[number].verdict == "relabel" else None,
            }
            for number, name in enumerate(self.ids, 1)
        ]


def question(
    objects: Sequence[Mapping[str, Any]], categories: Sequence[str], width: int, height: int, long_side: int
) -> Question:
    """Return the prompt for a frame of this size in pixels with these rows of `annotations`."""
    ordered = sorted(objects, key=lambda each: (-each["score"], each["annotation_id"]))
    shown = []
    for number, each in enumerate(ordered, 1):
        edges = (each["bbox_x"], each["bbox_y"], each["bbox_x"] + each["bbox_w"], each["bbox_y"] + each["bbox_h"])
        sides = (width, height, width, height)
        place = [min(_GRID, max(0, round(_GRID * edge / side))) for edge, side in zip(edges, sides, strict=True)]
        shown.append({"number": number, "category": each["category"], "score": round(each["score"], 3), "box": place})
    text = (
        f"Boxes are left, top, right and bottom edge in thousandths of the picture's width and height.\n"
        f"Categories: {json.dumps(list(categories), ensure_ascii=False)}\n"
        f"Boxes: {json.dumps(shown, ensure_ascii=False)}"
    )
    return Question(text, tuple(each["annotation_id"] for each in ordered), tuple(shown), tuple(categories), long_side)


def read_answer(text: str, asked: Question) -> Answer:
    """Return an answer that is valid for both schema and prompt. Raises `ValueError` with what is wrong."""
    try:
        answer = Answer.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(misfit(error)) from None
    numbers = sorted(each.number for each in answer.objects)
    if numbers != list(range(1, len(asked.ids) + 1)):
        raise ValueError(f"expected a verdict on each of {len(asked.ids)} boxes, found those on {numbers}")
    named = {each.category for each in answer.objects if each.verdict == "relabel"} | set(answer.missing)
    if unknown := named - set(asked.categories):
        raise ValueError(f"expected categories of the list, found {', '.join(sorted(map(str, unknown)))}")
    return answer


def misfit(error: ValidationError) -> str:
    """Return what violates a schema, and where, but none of the values: they come from outside."""
    problems = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        # The last part of an extra field's location is its name, which comes from outside.
        place = each["loc"][:-1] if each["type"] == "extra_forbidden" else each["loc"]
        problems.append(f"{'.'.join(map(str, place)) or 'the answer'}: {each['msg']}")
    return "; ".join(dict.fromkeys(problems))


def as_jpeg(picture: Color, long_side: int) -> bytes:
    """Return an (H, W, 3) uint8 BGR image as JPEG, its longer side at most `long_side` pixels."""
    height, width = picture.shape[:2]
    scale = long_side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])


def most_tokens(asked: Question, width: int, height: int) -> int:
    """Return an upper estimate of the tokens of the prompt with its image.

    A token has at least three characters, and an image at most one token per 16 x 16 pixels, with all providers.
    """
    scale = min(1.0, asked.long_side / max(width, height))
    letters = len(asked.system) + len(asked.text) + len(json.dumps(SCHEMA))
    return letters // 3 + round(width * scale) * round(height * scale) // 256 + 256
