"""Inference on a model server: frame files are sent over HTTP, rows come back.

The encoded files are sent, a twentieth of the size of their pixels; frames of clips are sent as lossless PNG. The
results are those of the same model run locally, including faults of single frames.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import pyarrow as pa

from transforms.frames.clip import FrameName
from transforms.frames.frame_image import Clips, open_frame
from transforms.frames.image import ImageParams, decode_color, read_header
from transforms.io.connection_watch import ConnectionWatch
from transforms.models.inference import (
    REQUEST,
    ContentChangedError,
    FrameModel,
    Inferred,
    faults_of,
    infer_in_parts,
    known_of,
)

SENT = pa.schema(
    [*REQUEST, pa.field("data", pa.binary(), nullable=False), pa.field("whole", pa.bool_(), nullable=False)]
)
"""Schema of a request: `data` is an encoded image, to be decoded at full size if `whole`."""

LOOK = "/v1/look/"
STAGES = "/v1/stages"
AT_ONCE = 3
_CONNECT_S, _READ_S = 5.0, 180.0
_TRIES = 6
_BACKOFF_S = 0.5
MOST_ROWS = 4096
"""Frames that a server takes at once: the largest `resources.model_batch`."""

_MOST_ANSWER_BYTES = 1 << 30
_ANSWER_S = 600.0
_CHUNK = 1 << 20
# What Arrow raises for a damaged stream.
_UNREADABLE = (
    *(pa.ArrowException, OSError, EOFError, StopIteration),
    *(struct.error, KeyError, TypeError, OverflowError, MemoryError),
)
_LONGEST_REASON = 300
_LATER = (429, 502, 503, 504)


class InferenceServerError(RuntimeError):
    """The model server cannot be reached, refuses a request, or returns an invalid response."""


class Server:
    """Client of a model server at a URL, with a token if there is one.

    Transient failures (no connection, a server that is busy or restarts) are retried with exponential backoff.
    """

    def __init__(self, url: str, token: str = "", tries: int = _TRIES) -> None:
        import urllib3

        from transforms.models.watched_pools import WatchedPools

        self.url = url.rstrip("/")
        self._failed = urllib3.exceptions.HTTPError
        retries = urllib3.Retry(
            total=tries - 1,
            backoff_factor=_BACKOFF_S,
            status_forcelist=_LATER,
            # Requests are idempotent, POST included.
            allowed_methods=None,
            raise_on_status=False,
        )
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = urllib3.Timeout(connect=_CONNECT_S, read=_READ_S)
        self._http = WatchedPools(maxsize=AT_ONCE, retries=retries, timeout=timeout, headers=headers)

    def ask(self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
        """Return the response body. Raises `InferenceServerError`."""
        sent = {**self._http.headers, **(headers or {})}
        with ConnectionWatch(_ANSWER_S) as watch:
            try:
                answer = self._http.watched_by(watch).request(
                    "GET" if body is None else "POST",
                    self.url + path,
                    body=body,
                    headers=sent,
                    # Frames and the token go to this server and to no other.
                    redirect=False,
                    preload_content=False,
                )
                data = self._whole(answer)
            except self._failed as error:
                if watch.is_over:
                    raise self._cut_off() from error
                raise InferenceServerError(f"no server of models answers at {self.url}: {_line(error)}") from error
            if watch.is_over:
                # What has no length ends with its connection.
                raise self._cut_off()
        if answer.status != 200:
            reason = _line(data.decode(errors="replace"))[:_LONGEST_REASON]
            raise InferenceServerError(f"the server of models at {self.url} says {answer.status}: {reason}")
        return data

    def _whole(self, answer: Any) -> bytes:
        """Return a response's body. Raises `InferenceServerError` for one that is too large."""
        parts: list[bytes] = []
        size = 0
        for part in answer.stream(_CHUNK, decode_content=False):
            parts.append(part)
            size += len(part)
            if size > _MOST_ANSWER_BYTES:
                answer.close()
                raise self._cut_off()
        answer.release_conn()
        return b"".join(parts)

    def _cut_off(self) -> InferenceServerError:
        return InferenceServerError(
            f"the server of models at {self.url} was cut off: its answer is larger than "
            f"{_MOST_ANSWER_BYTES >> 20} MiB, or takes longer than {_ANSWER_S:.0f} s"
        )


@dataclass(frozen=True)
class RemoteModel:
    """A model on a server, identified by its stage and that stage's key."""

    url: str
    token: str = field(repr=False)
    stage: str
    stage_key: str


class _Ready(NamedTuple):
    data: bytes
    whole: bool
    fault: Exception | None
    n_read: int
    bytes_read: int


def infer_remotely(
    block: pa.Table,
    model: RemoteModel,
    params: ImageParams,
    batch: int,
    threads: int,
    go_on: Callable[[], bool] | None = None,
) -> Inferred:
    """Run a model on a server over the frames of a block, of schema `REQUEST`, as `inference.infer_batches` does.

    At most `AT_ONCE` batches are in flight. Raises `InferenceServerError` if the server fails.
    """
    server = Server(model.url, model.token)
    found = Inferred({})
    faults: dict[int, Exception] = {}
    tables: dict[str, list[pa.Table]] = {}
    waiting: list[tuple[int, _Ready]] = []
    asked: deque[tuple[list[int], Future[bytes]]] = deque()

    def take_in() -> None:
        rows, answer = asked.popleft()
        parts, wrong = _answered(answer.result(), len(rows), model.url)
        faults.update({rows[row]: fault for row, fault in wrong.items()})
        for name, part in parts.items():
            tables.setdefault(name, []).append(part)

    with ThreadPoolExecutor(AT_ONCE) as on_their_way:

        def send() -> None:
            rows = [row for row, _ in waiting]
            body = _body(block.take(pa.array(rows, pa.int64())), [ready for _, ready in waiting])
            headers = {"X-Stage-Key": model.stage_key}
            asked.append((rows, on_their_way.submit(server.ask, LOOK + model.stage, body, headers)))
            waiting.clear()
            if len(asked) == AT_ONCE:
                take_in()

        for row, ready in enumerate(_files(block, params, threads, batch)):
            if go_on and not go_on():
                break
            found.n_frames += 1
            found.n_read += ready.n_read
            found.bytes_read += ready.bytes_read
            if ready.fault is not None:
                faults[row] = ready.fault
                continue
            waiting.append((row, ready))
            if len(waiting) == batch:
                send()
        if waiting:
            send()
        while asked:
            take_in()
    found.rows = {name: pa.concat_tables(parts) for name, parts in tables.items()}
    found.faults = faults_of(block, faults, [model.stage])
    return found


def _answered(data: bytes, n: int, url: str) -> tuple[dict[str, pa.Table], dict[int, Exception]]:
    """Return the tables of a server's answer about `n` frames, and the faults by their frames' places among these.

    Raises `InferenceServerError` for anything else.
    """
    try:
        (answered,) = read_rows(data, _ANSWER, 1).to_pylist()
        tables = {name: _any_rows(rows) for name, rows in answered["tables"]}
        faults: dict[int, Exception] = {}
        for fault in answered["faults"]:
            if not 0 <= fault["row"] < n:
                raise ValueError(f"it has a fault of frame {fault['row']} of {n}")
            faults[fault["row"]] = type(str(fault["error_type"]), (Exception,), {})(fault["error"])
    except (ValueError, TypeError) as error:
        raise InferenceServerError(f"the server of models at {url} answers with something else: {error}") from error
    return tables, faults


def _files(block: pa.Table, params: ImageParams, threads: int, ahead: int) -> Iterator[_Ready]:
    """Yield the frames of a block in order, encoded for sending, read ahead in threads."""
    uris, ids = block["uri"].to_pylist(), block["input_id"].to_pylist()
    with Clips() as clips, ThreadPoolExecutor(threads) as for_files, ThreadPoolExecutor(1) as for_clips:

        def ready(uri: str, input_id: int) -> _Ready:
            frame = open_frame(uri, None, params, clips)
            data, fault, whole = b"", None, FrameName.parse(uri) is not None
            try:
                if frame.content() != input_id:
                    raise ContentChangedError(f"{uri} has changed since it was measured; run its stream again")
                assert frame.read is not None
                data = cv2.imencode(".png", frame.color())[1].tobytes() if whole else frame.read.data
            except Exception as error:
                fault = error
            return _Ready(data, whole, fault, frame.n_read, frame.bytes_read)

        queue: deque[Future[_Ready]] = deque()
        at = 0
        try:
            while at < len(uris) or queue:
                while at < len(uris) and len(queue) < ahead + threads:
                    pool = for_clips if FrameName.parse(uris[at]) else for_files
                    queue.append(pool.submit(ready, uris[at], ids[at]))
                    at += 1
                yield queue.popleft().result()
        finally:
            for future in queue:
                future.cancel()


def _body(rows: pa.Table, ready: Sequence[_Ready]) -> bytes:
    sent = rows.append_column("data", pa.array([r.data for r in ready], pa.binary()))
    return _ipc(sent.append_column("whole", pa.array([r.whole for r in ready])).cast(SENT))


def read_rows(body: bytes, schema: pa.Schema, most: int) -> pa.Table:
    """Return the rows of an Arrow stream that another machine has sent, after every offset in it was checked.

    Raises `ValueError` for what is no such stream, for columns that are not those of `schema`, for a null where there
    may be none, for more than `most` rows, and for compressed columns, which may be of any size once decompressed.
    """
    try:
        rows = _uncompressed(body)
        # Before anything reads a value: an offset can lead out of the buffer that it is in.
        rows.validate(full=True)
        if rows.num_rows > most:
            raise ValueError(f"expected at most {most:,} rows, found {rows.num_rows:,}")
        if not rows.schema.equals(schema):
            raise ValueError(f"expected the columns {', '.join(schema.names)}, found {_line(rows.schema.names)[:300]}")
        nulls = [field.name for field in schema if not field.nullable and rows[field.name].null_count]
    except _UNREADABLE as error:
        raise ValueError(f"expected rows as an Arrow stream: {_line(error)[:_LONGEST_REASON]}") from error
    if nulls:
        raise ValueError(f"expected a value in every row, found none in {', '.join(nulls)}")
    return rows


def _uncompressed(body: bytes) -> pa.Table:
    """Return the rows of a stream; Arrow has no limit for what it decompresses."""
    source = pa.BufferReader(body)
    messages = pa.ipc.MessageReader.open_stream(source)
    # `read_schema` does not look at what kind of message it is given.
    if messages.read_next_message().type != "schema":
        raise ValueError("expected a schema at the beginning of the stream")
    schema = pa.ipc.open_stream(body).schema
    batches = []
    for message in messages:
        if message.type != "record batch":
            raise ValueError(f"expected batches of rows, found a message of type {message.type}")
        if _is_compressed(message.metadata.to_pybytes()):
            raise ValueError("expected rows that are not compressed")
        batches.append(pa.ipc.read_record_batch(message, schema))
    if source.tell() < len(body):
        raise ValueError(f"expected the end of the stream, found {len(body) - source.tell():,} more bytes")
    return pa.Table.from_batches(batches, schema)


def _is_compressed(metadata: bytes) -> bool:
    """Return whether the metadata of a record batch name a compression.

    They are a flatbuffer, https://arrow.apache.org/docs/format/Columnar.html: a table begins with the distance back to
    a list of where its fields are; `header` is field 2 of a message, `compression` field 3 of a record batch. Raises
    `struct.error` for what ends too early.
    """

    def field(table: int, number: int) -> int:
        fields = table - struct.unpack_from("<i", metadata, table)[0]
        at = 4 + 2 * number
        is_listed = at < struct.unpack_from("<H", metadata, fields)[0]
        return int(struct.unpack_from("<H", metadata, fields + at)[0]) if is_listed else 0

    (root,) = struct.unpack_from("<I", metadata, 0)
    header = root + field(root, 2)
    return field(header + struct.unpack_from("<I", metadata, header)[0], 3) != 0


def answer(body: bytes, model: FrameModel, params: ImageParams, batch: int, pool: ThreadPoolExecutor) -> bytes:
    """Return a server's response to frames of schema `SENT`. Raises `ValueError` for an invalid request."""
    frames = read_rows(body, SENT, MOST_ROWS)
    cv2.setNumThreads(0)

    def prepare(data: bytes, whole: bool, known: list[dict[str, Any]] | None) -> Any:
        try:
            color = decode_color(data, read_header(data), params, None if whole else model.short_side)
            return model.prepare(color) if known is None else model.prepare(color, known)
        except Exception as error:
            return error

    prepared = list(pool.map(prepare, frames["data"].to_pylist(), frames["whole"].to_pylist(), known_of(frames)))
    faults: dict[int, Exception] = {row: p for row, p in enumerate(prepared) if isinstance(p, Exception)}
    there = [(row, p) for row, p in enumerate(prepared) if row not in faults]
    results: dict[int, Any] = {}
    for first in range(0, len(there), batch):
        infer_in_parts(model, there[first : first + batch], results, faults)
    inferred = frames.select(REQUEST.names).take(pa.array(sorted(results), pa.int64()))
    tables = model.rows(inferred, [results[row] for row in sorted(results)]) if results else {}
    answered = {
        "tables": [(name, _ipc(rows)) for name, rows in tables.items()],
        "faults": [
            {"row": row, "error_type": type(fault).__name__, "error": _line(fault)} for row, fault in faults.items()
        ],
    }
    return _ipc(pa.Table.from_pylist([answered], _ANSWER))


_ANSWER = pa.schema(
    [
        pa.field("tables", pa.map_(pa.string(), pa.binary())),
        pa.field(
            "faults", pa.list_(pa.struct({"row": pa.int64(), "error_type": pa.string(), "error": pa.string()}.items()))
        ),
    ]
)


def _any_rows(data: bytes) -> pa.Table:
    """Return rows of any columns, checked as `read_rows` does."""
    try:
        rows = _uncompressed(data)
        rows.validate(full=True)
    except _UNREADABLE as error:
        raise ValueError(f"expected rows as an Arrow stream: {_line(error)[:_LONGEST_REASON]}") from error
    return rows


def _ipc(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def _line(error: object) -> str:
    return " ".join(str(error).split())
