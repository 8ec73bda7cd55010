"""Projects, and their members."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from jobs.accounts import members, people
from jobs.accounts.roles import Role
from jobs.core.errors import UserError
from jobs.web.identity import Accounts, Identity, Me
from jobs.web.problems import ForbiddenError
from jobs.web.routes.bodies import Body, Name

router = APIRouter(tags=["projects"])

_UNREADABLE = "it cannot be read; an admin of the server sees why"


class Membership(Body):
    """A role in a project."""

    role: Role


class NewProject(Body):
    """A project that is to be made."""

    name: Name


@router.get("/projects", name="list_projects")
def list_projects(who: Me, request: Request, database: Accounts) -> Any:
    """Return the projects that one has a role in; for an admin of the server, all of them."""
    with database.read() as connection:
        roles = members.projects_of(connection, who.user_id)
    found = []
    for project in request.app.state.projects.all():
        role = "admin" if who.is_admin else roles.get(project.name)
        if role is None or (who.key is not None and who.key.project not in {None, project.name}):
            continue
        try:
            exists, problem = project.workspace().exists, None
        except UserError as error:
            # Paths are for those who may read them on the machine.
            exists, problem = (
                False,
                str(error) if who.is_admin else "it cannot be read; an admin of the server sees why",
            )
        path = project.path if who.is_admin else None
        found.append({"project": project.name, "path": path, "role": role, "exists": exists, "problem": problem})
    return {"projects": found}


@router.post("/projects", name="add_project", status_code=201)
def add_project(body: NewProject, who: Me, request: Request, database: Accounts) -> Any:
    """Make an empty project below the server's root. 409 where there is something of this name."""
    made = request.app.state.projects.create(body.name)
    request.app.state.reviews.forget(made.name)
    database.write(lambda c: members.note_creation(c, who.actor, made.name))
    return {"project": made.name, "path": made.path, "role": "admin", "exists": True, "problem": None}


@router.get("/projects/{project}/members", name="list_members")
def list_members(project: str, request: Request, database: Accounts) -> Any:
    """Return the members of a project."""
    request.app.state.projects.named(project)
    with database.read() as connection:
        return {"members": members.of_project(connection, project)}


@router.put("/projects/{project}/members/{user_id}", name="put_member")
def put_member(project: str, user_id: str, body: Membership, who: Me, request: Request, database: Accounts) -> Any:
    """Give somebody a role in a project. 409 for its last admin."""
    request.app.state.projects.named(project)

    def put(connection: Any) -> list[dict[str, Any]]:
        _still_leads(connection, who, project)
        members.put(connection, who.actor, project, user_id, body.role)
        return members.of_project(connection, project)

    return {"members": database.write(put)}


@router.delete("/projects/{project}/members/{user_id}", name="remove_member", status_code=204)
def remove_member(project: str, user_id: str, who: Me, database: Accounts) -> None:
    """Take somebody out of a project. 409 for its last admin."""

    def remove(connection: Any) -> None:
        _still_leads(connection, who, project)
        members.remove(connection, who.actor, project, user_id)

    database.write(remove)


def _still_leads(connection: Any, who: Identity, project: str) -> None:
    """Raise `ForbiddenError` where somebody lost the rights of an admin since the request came in."""
    person = people.by_id(connection, who.user_id)
    if person.disabled or not (person.is_admin or members.role_of(connection, project, who.user_id) == "admin"):
        raise ForbiddenError("this is for admins of the project")
