"""Uploads: files in pieces that survive any cut (tus 1.0.0), their states, and data that is on the server already."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from jobs.accounts import audit
from jobs.accounts.errors import NotSignedInError
from jobs.uploads import register, upload_space
from jobs.uploads.errors import UploadMissingError, UploadStateError
from jobs.uploads.upload_names import checked_name
from jobs.uploads.upload_record import Upload
from jobs.uploads.upload_store import UploadStore
from jobs.web import upload_requests
from jobs.web.identity import Identity, Me, check, database_of, identify, role_in, settings_of
from jobs.web.pages import API
from jobs.web.plain import utc
from jobs.web.problems import StateConflictError
from jobs.web.routes.bodies import Body, Name
from jobs.web.rules import RULES
from jobs.web.upload_body import UploadBody
from jobs.web.upload_errors import UploadOffsetError
from jobs.web.uploads import Uploads

router = APIRouter(prefix="/projects/{project}/uploads", tags=["uploads"])

_HEADERS = {"Tus-Resumable": upload_requests.TUS}


class NewRegistration(Body):
    """A folder or a file of the server, and the name that runs know it by; without one, its own."""

    path: Name
    name: Name | None = None


@router.options("", name="upload_options", status_code=204)
async def options(project: str, request: Request) -> Response:
    """Say which version and extensions of the protocol are spoken."""
    await _uploads(request).of(project)
    return Response(
        status_code=204,
        headers=_HEADERS
        | {
            "Tus-Version": upload_requests.TUS,
            "Tus-Extension": upload_requests.EXTENSIONS,
            "Tus-Checksum-Algorithm": upload_requests.CHECKSUMS,
        },
    )


@router.get("", name="list_uploads")
async def list_uploads(
    project: str,
    who: Me,
    request: Request,
    before: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Any:
    """Return one's own uploads, the newest first; admins of the project see those of all.

    `next` is what `before` has to be to see older ones, null at the end. `kept_bytes` is what uploads take of
    `quota_bytes`.
    """
    store = await _uploads(request).of(project)
    sees_all = await _sees_all(request, who, project)

    def listed() -> dict[str, Any]:
        known = store.all()
        found = [u for u in reversed(known) if sees_all or u.owner == who.user_id]
        found = [u for u in found if before is None or u.upload_id < before]
        return {
            "uploads": [_shown(store, u, who) for u in found[:limit]],
            "next": found[limit - 1].upload_id if len(found) > limit else None,
            "kept_bytes": upload_space.kept_bytes(known),
            "quota_bytes": settings_of(request).upload_quota,
            "can_register": sees_all and bool(settings_of(request).allowed_inputs),
        }

    return await run_in_threadpool(listed)


@router.post("", name="add_upload", status_code=201, response_model=None)
async def add(project: str, who: Me, request: Request) -> Response:
    """Begin an upload: `Upload-Length`, `Upload-Metadata` with `filename`, and bytes of it, if the body has any.

    507 where it does not fit on the disk or into the quota of the project; 409 where another file has its name.
    """
    upload_requests.check_version(request.headers)
    if "upload-defer-length" in request.headers:
        raise StateConflictError("Upload-Defer-Length: expected a file whose length is known")
    length = upload_requests.number(request.headers, "Upload-Length")
    about = upload_requests.metadata(request.headers)
    has_body = request.headers.get("content-type") == upload_requests.BODY
    sent = upload_requests.checksum(request.headers) if has_body else None
    uploads = _uploads(request)
    store = await uploads.of(project)
    path = about.pop("path")
    upload = await uploads.in_thread(lambda: store.create(who.user_id, who.name, path, length, **about))
    await _note(request, who, "upload.add", upload, project)
    uploads.announce(project, upload)
    offset = 0
    if has_body:
        async with uploads.turn(upload.upload_id) as turn:
            upload, offset = await uploads.append(project, upload, _body(project, request), turn, sent)
            if upload.state != "receiving":
                await _note(request, who, "upload.receive", upload, project)
    location = f"{API}/projects/{project}/uploads/{upload.upload_id}"
    return Response(status_code=201, headers=_about(store, upload, offset) | {"Location": location})


@router.head("/{upload_id}", name="find_upload_offset", response_model=None)
async def find_offset(project: str, upload_id: str, who: Me, request: Request) -> Response:
    """Return how many bytes of an upload are on disk: `Upload-Offset`. A request that sends some ends before that."""
    upload_requests.check_version(request.headers)
    uploads = _uploads(request)
    store = await uploads.of(project)
    await _own(store, upload_id, who, request, project)
    async with uploads.turn(upload_id):
        upload = store.get(upload_id)
        offset = await uploads.in_thread(lambda: store.flushed_offset(upload))
    return Response(status_code=200, headers=_about(store, upload, offset) | {"Upload-Length": str(upload.length)})


@router.patch("/{upload_id}", name="continue_upload", status_code=204, response_model=None)
async def append(project: str, upload_id: str, who: Me, request: Request) -> Response:
    """Append bytes to an upload at `Upload-Offset`; with `Upload-Checksum: sha256 …`, only if they have that hash.

    409 with `Upload-Offset` where the upload ends elsewhere, 460 for a wrong checksum, 507 for a full disk.
    """
    upload_requests.check_version(request.headers)
    upload_requests.check_type(request.headers)
    given = upload_requests.number(request.headers, "Upload-Offset")
    sent = upload_requests.checksum(request.headers)
    uploads = _uploads(request)
    store = await uploads.of(project)
    await _own(store, upload_id, who, request, project)
    async with uploads.turn(upload_id) as turn:
        upload = store.get(upload_id)
        offset = await uploads.in_thread(lambda: store.offset_of(upload))
        if given != offset:
            raise UploadOffsetError(offset, f"Upload-Offset: expected {offset}, found {given}; continue there")
        if upload.state == "receiving":
            upload, offset = await uploads.append(project, upload, _body(project, request), turn, sent)
            if upload.state != "receiving":
                await _note(request, who, "upload.receive", upload, project)
    return Response(status_code=204, headers=_about(store, upload, offset))


@router.get("/{upload_id}", name="get_upload")
async def get(project: str, upload_id: str, who: Me, request: Request) -> Any:
    """Return one upload: its state, the reasons of a rejection, its hash, and what was found in it."""
    store = await _uploads(request).of(project)
    upload = await _own(store, upload_id, who, request, project)
    return await run_in_threadpool(lambda: _shown(store, upload, who))


@router.delete("/{upload_id}", name="delete_upload", status_code=204, response_model=None)
async def delete(project: str, upload_id: str, who: Me, request: Request) -> Response:
    """Delete an upload and its bytes. 409 for one whose frames are in the tables: their images would be missing."""
    uploads = _uploads(request)
    store = await uploads.of(project)
    upload = await _own(store, upload_id, who, request, project)
    if upload.state == "ready" and await run_in_threadpool(_is_used, request, project, store, upload):
        raise UploadStateError(f"{upload.path} is a stream of this project; its frames would lose their images")
    async with uploads.turn(upload_id):
        await uploads.in_thread(lambda: store.delete(upload_id))
        uploads.forget(upload)
    await _note(request, who, "upload.delete", upload, project)
    uploads.announce(project, upload, "deleted")
    return Response(status_code=204, headers=_HEADERS)


@router.post("/register", name="register_input", status_code=201)
async def register_input(project: str, body: NewRegistration, who: Me, request: Request) -> Any:
    """Name a folder or a file of the server for runs, without a copy; it has to be below a folder that is allowed."""
    uploads = _uploads(request)
    store = await uploads.of(project)

    def keep() -> Upload:
        source = register.checked_source(body.path, settings_of(request).allowed_inputs)
        name = checked_name(body.name or source.name)
        if source.is_file() and not PurePosixPath(name).suffix:
            name += source.suffix
        return store.add_registered(who.user_id, who.name, name, source, register.found_in(source))

    upload = await uploads.in_thread(keep)
    await _note(request, who, "upload.register", upload, project)
    uploads.announce(project, upload)
    return await run_in_threadpool(lambda: _shown(store, upload, who))


def _uploads(request: Request) -> Uploads:
    return cast("Uploads", request.app.state.uploads)


async def _sees_all(request: Request, who: Identity, project: str) -> bool:
    return await run_in_threadpool(role_in, database_of(request), who, project) == "admin"


async def _own(store: UploadStore, upload_id: str, who: Identity, request: Request, project: str) -> Upload:
    """Return an upload that somebody may see. Raises `UploadMissingError`, also for those of others."""
    upload = store.get(upload_id)
    if upload.owner != who.user_id and not await _sees_all(request, who, project):
        raise UploadMissingError(f"there is no upload {upload_id[:60]!r}")
    return upload


def _body(project: str, request: Request) -> UploadBody:
    def still_may() -> None:
        who = identify(request)
        if who is None:
            raise NotSignedInError("the session or the key does not hold any more")
        check(database_of(request), who, RULES["continue_upload"], project)

    async def look() -> None:
        await run_in_threadpool(still_may)

    return UploadBody(request, look)


def _about(store: UploadStore, upload: Upload, offset: int) -> dict[str, str]:
    headers = _HEADERS | {"Upload-Offset": str(offset)}
    until = store.expires_s(upload)
    return headers if until is None else headers | {"Upload-Expires": upload_requests.http_date(until)}


def _shown(store: UploadStore, upload: Upload, who: Identity) -> dict[str, Any]:
    is_mine = upload.owner == who.user_id
    until = store.expires_s(upload)
    return {
        "upload_id": upload.upload_id,
        "path": upload.path,
        "owner": upload.owner_name,
        "is_mine": is_mine,
        "length": upload.length,
        "offset": store.offset_of(upload),
        "state": upload.state,
        "why": list(upload.why),
        "blake3": upload.blake3,
        "found": {name: value for name, value in upload.found.items() if name != "at"},
        "already_there": upload.already_there,
        "fingerprint": upload.fingerprint if is_mine else None,
        "is_registered": upload.source is not None,
        "input": f"upload:{upload.path}" if upload.state == "ready" else None,
        "created": utc(upload.created_ns),
        "changed": utc(upload.changed_ns),
        "expires": None if until is None else utc(int(until * 1e9)),
    }


def _is_used(request: Request, project: str, store: UploadStore, upload: Upload) -> bool:
    """Return whether frames in the tables come from a file or a folder."""
    import schemas
    from jobs.storage.store import Store

    workspace = request.app.state.projects.named(project).workspace()
    at = store.files / upload.path
    uris = Store(workspace.root).read(schemas.STREAMS, ("uri",))["uri"].to_pylist()
    return any(uri == str(at) or uri.startswith(f"{at}/") or str(at).startswith(f"{uri}/") for uri in uris)


async def _note(request: Request, who: Identity, action: str, upload: Upload, project: str) -> None:
    """Write down who did what, in the audit."""
    about = {"upload_id": upload.upload_id, "bytes": upload.length, "blake3": upload.blake3}
    await run_in_threadpool(
        lambda: database_of(request).write(lambda c: audit.record(c, who.actor, action, upload.path, project, **about))
    )
