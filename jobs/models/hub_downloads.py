"""Downloads from the Hugging Face hub, through its own library, and bounded as all downloads are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core.errors import RunFailedError
from jobs.models.downloads import MOST_BYTES, Hosts, OnNote, seconds_for
from transforms.io.connection_watch import ConnectionWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SMALL_BYTES = 256 << 20
"""What the small files of a repository, next to its weights, may have together."""


def fetch_repository(
    repository: str,
    revision: str,
    wanted: Callable[[Sequence[str]], list[str]],
    weights_bytes: int | None,
    target: Path,
    on_note: OnNote,
) -> None:
    """Download the files of a repository that `wanted` chooses by their names.

    `weights_bytes` is the size of the weights by the catalogue, if it names one. Raises `RunFailedError` for more than
    that, and what the library raises.
    """
    from huggingface_hub import HfApi, constants, snapshot_download

    most_bytes = MOST_BYTES if weights_bytes is None else weights_bytes + SMALL_BYTES
    with _bounded(constants.ENDPOINT, most_bytes, on_note):
        # This request is not retried, so a missing network shows soon. It pins the commit, since a branch may move.
        info = HfApi().model_info(repository, revision=revision)
        names = wanted([file.rfilename for file in info.siblings or ()])
        snapshot_download(repository, revision=info.sha or revision, local_dir=target, allow_patterns=names)


@contextmanager
def _bounded(endpoint: str, most_bytes: int, on_note: OnNote) -> Iterator[None]:
    """Have the library use clients that count what comes, until everything takes too long."""
    import httpx2
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils._http import default_client_factory, hf_request_event_hook

    hosts = Hosts(endpoint, on_note)
    budget = _Budget(most_bytes)

    class Counted(httpx2.SyncByteStream):
        """The body of an answer, of which every piece is counted."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            for piece in self._stream:
                budget.spend(len(piece))
                yield piece

        def close(self) -> None:
            self._stream.close()

    def on_request(request: httpx2.Request) -> None:
        # Redirected ones among them.
        hosts.check(endpoint, str(request.url))
        request.extensions = {**request.extensions, "trace": watch.on_event}

    def on_response(response: httpx2.Response) -> None:
        budget.spend(0)
        response.stream = Counted(response.stream)

    def make() -> httpx2.Client:
        hooks: Any = {"request": [hf_request_event_hook, on_request], "response": [on_response]}
        return httpx2.Client(event_hooks=hooks, follow_redirects=True, max_redirects=5, timeout=None)

    with ConnectionWatch(seconds_for(most_bytes)) as watch:
        has_no_xet = constants.HF_HUB_DISABLE_XET
        # A protocol of its own, whose hosts and sizes are not known here.
        constants.HF_HUB_DISABLE_XET = True
        set_client_factory(make)
        try:
            yield
        finally:
            set_client_factory(default_client_factory)
            constants.HF_HUB_DISABLE_XET = has_no_xet


class _Budget:
    """What the downloads of one repository may take together: bytes, and seconds from now on."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = self._left = most_bytes
        self._until = time.monotonic() + seconds_for(most_bytes)

    def spend(self, n_bytes: int) -> None:
        """Count bytes that have come. Raises `RunFailedError` where they are too many, or come too late."""
        self._left -= n_bytes
        if self._left < 0:
            raise RunFailedError(f"expected at most {self._most_bytes:,} bytes in all, found more; nothing was kept")
        if time.monotonic() > self._until:
            raise RunFailedError(f"no whole folder within {seconds_for(self._most_bytes):,.0f} s; nothing was kept")
