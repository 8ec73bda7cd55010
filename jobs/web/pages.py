"""The built pages: files whose names carry a hash of their content, and the one page that loads them."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response

from jobs.web.problems import problem
from jobs.web.version import STATIC

API = "/api/v1"
METRICS = "/metrics"
"""Where a server that only its machine reaches answers Prometheus."""

PAGES = "pages"
"""Name of the route of the pages."""

_PROJECTS = "/p/"
_FOREVER = "public, max-age=31536000, immutable"
_PACKED = (("br", ".br"), ("gzip", ".gz"))


def add_pages(app: FastAPI, folder: Path = STATIC) -> None:
    """Serve the pages: their files, and the first page at every address that is neither a file nor of the API.

    Files are listed once: no path of a request is ever joined to a folder.
    """
    files = {f"/{file.relative_to(folder).as_posix()}": file for file in folder.rglob("*") if file.is_file()}

    @app.api_route("/{path:path}", methods=["GET", "HEAD"], include_in_schema=False, name=PAGES)
    def pages(path: str, request: Request) -> Response:
        where = f"/{path}"
        if where == API or where.startswith("/api/"):
            return problem(404, [f"there is no {where[:200]}"])
        packed = request.headers.get("accept-encoding", "")
        if where in files and where != "/index.html":
            return _file(files, where, packed, _FOREVER if where.startswith("/assets/") else "no-cache")
        if not is_page(where):
            return problem(404, [f"there is no {where[:200]}"])
        return _file(files, "/index.html", packed, "no-cache")


def is_page(path: str) -> bool:
    """Return whether an address is one of a page; names of projects may have dots in them, other pages have none."""
    return (
        path != METRICS
        and not path.startswith("/api/")
        and (path.startswith(_PROJECTS) or "." not in path.rpartition("/")[2])
    )


def _file(files: dict[str, Path], name: str, accepted: str, caching: str) -> Response:
    """Return a file, packed where the browser takes that and it was built."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {"cache-control": caching, "vary": "accept-encoding"}
    for coding, ending in _PACKED:
        if coding in accepted and f"{name}{ending}" in files:
            return FileResponse(
                files[f"{name}{ending}"], media_type=kind, headers={**headers, "content-encoding": coding}
            )
    return FileResponse(files[name], media_type=kind, headers=headers)
