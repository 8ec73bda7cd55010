"""Metrics of the server and of its projects, for Prometheus."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request
from fastapi.responses import Response

from jobs.web.metrics import CONTENT_TYPE, Metrics

router = APIRouter(tags=["server"])


@router.get(
    "/metrics",
    name="metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
def metrics(request: Request) -> Response:
    """Return gateways, queues and running jobs of all projects, and the server's own figures, as Prometheus reads them.

    For a key of an admin with the scope `metrics`.
    """
    found = cast("Metrics", request.app.state.metrics)
    return Response(found.text(), media_type=CONTENT_TYPE)
