"""HTTP server for models: receives frames, runs inference, and returns rows."""

from __future__ import annotations

import asyncio
import hmac
import json
import signal
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

from conf import Loaded
from conf.loader import parse, to_dict
from jobs.core.errors import UserError
from jobs.engine.ray_engine import Engine
from jobs.models.remote_models import can_be_served, describe
from jobs.stages.build import build
from transforms.models.inference import FrameModel, StatefulModel, WindowedModel
from transforms.models.remote import LOOK, STAGES, answer

_MOST_BYTES = 1 << 30
_MOST_HELD = 2 << 30
"""Bytes of frames that wait in one process; a request is refused where they would be more."""

_UPLOAD_S = 180.0
_FORBIDDEN, _UNKNOWN, _OTHER, _TOO_LARGE, _WRONG = 401, 404, 409, 413, 400
_TOO_SLOW, _BUSY = 408, 503


@dataclass(frozen=True)
class ServeOptions:
    """Where a server listens, the token it asks for (none if empty), and how many processes hold the models."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    replicas: int | None = None


class ModelServer:
    """One process that holds the models of a configuration; a deployment of Ray Serve."""

    def __init__(self, config: Mapping[str, Any], token: str, threads: int) -> None:
        parsed = parse(config)
        self._token = token.encode()
        self._image, self._batch = parsed.image, parsed.resources.model_batch
        self._stages = {stage.name: stage for stage in build(parsed) if can_be_served(stage)}
        self._models: dict[str, FrameModel] = {}
        for name, stage in self._stages.items():
            assert stage.make is not None
            made = stage.make(threads)
            assert not isinstance(made, (WindowedModel, StatefulModel))
            self._models[name] = made
        self._held = 0
        # A model processes one batch at a time; other threads decode for it.
        self._turn, self._decoders = ThreadPoolExecutor(1), ThreadPoolExecutor(threads)

    async def __call__(self, request: Any) -> Any:
        """Answer a request of Starlette."""
        from starlette.responses import Response

        path, name = request.url.path, request.url.path.removeprefix(LOOK)
        if refused := self._refused(path, name, request):
            return Response(*refused)
        if path == STAGES:
            return Response(json.dumps(describe(list(self._stages.values()))), media_type="application/json")
        try:
            async with asyncio.timeout(_UPLOAD_S):
                body = await self._body(request)
        except TimeoutError:
            return Response(f"the frames did not arrive within {_UPLOAD_S:.0f} s", _TOO_SLOW)
        except ValueError as error:
            return Response(str(error), _WRONG)
        if body is None:
            return Response("other frames are waiting; try again later", _BUSY)
        try:
            return await self._inferred(name, body)
        finally:
            self._held -= len(body)

    async def _body(self, request: Any) -> bytes | None:
        """Return the body of a request; None where there is no room for one more. Raises `ValueError`."""
        length = int(request.headers["content-length"])
        if self._held and self._held + length > _MOST_HELD:
            return None
        self._held += length
        received = bytearray()
        try:
            async for part in request.stream():
                received += part
                if len(received) > length:
                    break
            if len(received) != length:
                raise ValueError(f"expected {length} bytes, as the request says, found {len(received)}")
        except BaseException:
            self._held -= length
            raise
        return bytes(received)

    async def _inferred(self, name: str, body: bytes) -> Any:
        from starlette.responses import Response

        work = partial(answer, body, self._models[name], self._image, self._batch, self._decoders)
        try:
            said = await asyncio.get_running_loop().run_in_executor(self._turn, work)
        except ValueError as error:
            return Response(str(error), _WRONG)
        return Response(said, media_type="application/vnd.apache.arrow.stream")

    def _refused(self, path: str, name: str, request: Any) -> tuple[str, int] | None:
        """Return why a request is refused before its body is read, and with which status."""
        given = request.headers.get("authorization", "").encode()
        if self._token and not hmac.compare_digest(given, b"Bearer " + self._token):
            return "expected the token of this server, WINNOW_INFERENCE_TOKEN", _FORBIDDEN
        if path == STAGES:
            return None
        if not path.startswith(LOOK) or name not in self._stages or request.method != "POST":
            return f"there is nothing at {path}", _UNKNOWN
        if request.headers.get("x-stage-key") != self._stages[name].key:
            return f"stage {name} has other weights or settings here than requested", _OTHER
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > _MOST_BYTES:
            return f"at most {_MOST_BYTES:,} bytes are taken at once; lower resources.model_batch", _TOO_LARGE
        return None


def serve(loaded: Loaded, options: ServeOptions, ready: Callable[[str, list[str]], None]) -> None:
    """Serve the models of a configuration until SIGINT or SIGTERM; `ready` is called with the URL and the stages.

    Raises `UserError` where the configuration has no model that can be served, something that it needs is missing, or
    another program listens at the address.
    """
    stages = [stage for stage in build(loaded.config) if can_be_served(stage)]
    if not stages:
        raise UserError(
            "no stage of this configuration shows frames to a model that can be served; expected embeddings, or "
            "annotate with a detector that has weights (--profile annotate --set annotate.detector=onnx)"
        )
    _check_address(options.host, options.port)
    over = Event()
    before = {number: signal.signal(number, lambda *_: over.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Engine(loaded.config.resources) as engine:
            shape = engine.model_processes(loaded.config.resources)
            shape = shape._replace(size=options.replicas or shape.size)
            arguments = (to_dict(loaded.config), options.token, shape.threads)
            url = engine.serve(ModelServer, arguments, shape, options.host, options.port)
            for number in before:
                signal.signal(number, lambda *_: over.set())
            ready(url, [stage.name for stage in stages])
            over.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_address(host: str, port: int) -> None:
    """Raise `UserError` where nothing can listen: servers of Ray share a port, and each would get some requests."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: cannot listen there: {error}; name another address") from error
