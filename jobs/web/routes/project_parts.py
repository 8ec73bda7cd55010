"""What routes of a project have in common: its data, and the size of what they take."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Query, Request

from jobs.web.project_data import ProjectData, ProjectsData

Stream = Annotated[str, Query(min_length=1, max_length=1000, description="Id of a stream.")]
Number = Annotated[int, Query(ge=0, lt=2**63, description="Number of a frame.")]


def data_of(project: str, request: Request) -> ProjectData:
    """Return the data of the project of a request. Raises `MissingError` for an unknown one."""
    return cast("ProjectsData", request.app.state.data).of(project)


Data = Annotated[ProjectData, Depends(data_of)]
