"""Metrics of the server and of its projects, for Prometheus."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request
from fastapi.responses import Response

from jobs.web.identity import is_from_here
from jobs.web.metrics import CONTENT_TYPE, Metrics
from jobs.web.pages import METRICS
from jobs.web.problems import MissingError

router = APIRouter(tags=["server"])
local = APIRouter(tags=["server"])
"""Routes that are not below the address of the API."""


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
    return _metrics(request)


@local.get(METRICS, name="local_metrics", include_in_schema=False)
def local_metrics(request: Request) -> Response:
    """Return the same to anybody on the machine of a server that no other machine reaches; 404 elsewhere."""
    if not is_from_here(request):
        raise MissingError("there is no /metrics; /api/v1/metrics takes a key with the scope metrics")
    return _metrics(request)


def _metrics(request: Request) -> Response:
    found = cast("Metrics", request.app.state.metrics)
    return Response(found.text(), media_type=CONTENT_TYPE)
