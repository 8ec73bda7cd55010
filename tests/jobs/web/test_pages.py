"""The built pages: paths lead to their files alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from fastapi import FastAPI

from jobs.web.guard import Guard
from jobs.web.pages import add_pages


def test_paths_of_pages_lead_to_their_files_alone(tmp_path: Path) -> None:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<p>the page")
    (folder / "assets" / "app-1234.js").write_text("the script")
    (tmp_path / "secret.txt").write_text("planted-word")
    app = FastAPI()
    add_pages(app, folder)
    app.add_middleware(Guard, origins=frozenset({"http://127.0.0.1"}))
    client = httpx.Client(transport=_transport(app), base_url="http://127.0.0.1")
    script = client.get("/assets/app-1234.js")
    assert (script.text, script.headers["cache-control"]) == ("the script", "public, max-age=31536000, immutable")
    for path in ("/", "/frames", "/jobs/123", "/p/site-2.north/frames", "/p/v1.2"):
        assert client.get(path).text == "<p>the page"
        assert client.get(path).headers["cache-control"] == "no-cache"
    for path in (
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "//secret.txt",
        "/..\\secret.txt",
        f"/{tmp_path}/secret.txt",
        "/assets/missing.js",
        "/api/v1/nothing",
        "/api/../secret.txt",
    ):
        answer = client.get(path)
        assert "planted-word" not in answer.text, path
        assert answer.status_code == 404 or answer.text == "<p>the page", path


def _transport(app: object) -> httpx.BaseTransport:
    """Return a way to ask an application without a socket."""

    class Direct(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            async def ask() -> httpx.Response:
                answer = await httpx.ASGITransport(app=app).handle_async_request(request)  # type: ignore[arg-type]
                content = await answer.aread()
                return httpx.Response(answer.status_code, headers=answer.headers, content=content)

            return asyncio.run(ask())

    return Direct()
