"""What people approve in the browser, in the tables: once, as a review by file would be, and found again from them."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select

import schemas
from jobs.accounts.database import Database
from jobs.core.errors import UserError
from jobs.editing import checks, leases, recovery
from jobs.editing.event_rows import objects_of
from jobs.editing.publication import Publisher, progress
from jobs.editing.tables import EVENTS, FRAMES, OBJECTS, PROGRESS
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go
from tests.jobs.editing.material import edit, people, record
from tests.jobs.review.material import annotated, settings
from tests.jobs.web.material import Server, served
from tests.jobs.web.reviewing import Desk, desk
from tests.models import held_at_hand
from tests.waiting import wait_until

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return annotated(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, workspace: Workspace) -> Server:
    return served(workspace, tmp_path_factory.mktemp("accounts"))


def drawn(**more: Any) -> dict[str, Any]:
    return {"op": "add", "object_id": f"drawn-{secrets.token_hex(4)}", "category": "red", **more}


def published(server: Server) -> None:
    server.client.app.state.reviews.publish(server.project)  # type: ignore[attr-defined]


def rows(workspace: Workspace, table: str) -> list[dict[str, Any]]:
    return View.of(workspace).lazy(table).collect().to_dicts()


def test_an_approval_is_in_the_tables_as_a_review_by_file_is(server: Server, workspace: Workspace) -> None:
    annotator, reviewer = desk(server, "annotator"), desk(server, "reviewer")
    (model,) = annotator.frame(0)["objects"]
    ring = [100, 50, 120, 50, 120, 60, 100, 60]
    annotator.edit(0, {"op": "delete", "object_id": model["object_id"]}, drawn(polygons=[ring], attributes={"a": 1}))
    annotator.edit(0, drawn(bbox=[5, 5, 10, 10], rotation=30, track_id=4), kind="submit")
    assert reviewer.edit(0, {"op": "tags", "tags": ["night"]}, kind="approve", note="fine").status_code == 200
    # Nobody asks for it: the server publishes by itself.
    wait_until(lambda: [row for row in rows(workspace, "reviews") if row["decision"] == "seen"])
    found = {row["decision"]: row for row in rows(workspace, "reviews") if row["rotation"] is None}
    assert sorted(found) == ["add", "reject", "seen"]
    assert {row["reviewer"] for row in found.values()} == {reviewer.name}
    assert (found["seen"]["attributes"], found["seen"]["note"]) == ('{"tags": ["night"]}', "fine")
    assert (found["add"]["author"], found["add"]["attributes"]) == (annotator.name, '{"a": 1}')
    assert found["add"]["polygons"] == [ring]
    assert found["add"]["mask_rle"] is not None
    objects = View.of(workspace).sql("SELECT category, bbox_x, bbox_w, author FROM objects WHERE frame_idx = 0")
    assert sorted((o["bbox_x"], o["bbox_w"]) for o in objects.to_pylist()) == [(5, 10), (100, 20)]
    assert {o["author"] for o in objects.to_pylist()} == {annotator.name}


def test_events_are_published_once_in_their_order(server: Server, workspace: Workspace) -> None:
    annotator = desk(server, "annotator")
    for _ in range(3):
        annotator.edit(1, drawn(bbox=[5, 5, 10, 10]))
        published(server)
        published(server)
    events = sorted(rows(workspace, "review_events"), key=lambda row: row["seq"])
    assert [row["seq"] for row in events] == list(range(1, len(events) + 1))
    of_frame = [row["revision"] for row in events if row["frame_idx"] == 1]
    assert of_frame == [0, 1, 2, 3]
    # What is only edited is in no export.
    assert not [row for row in rows(workspace, "reviews") if row["frame_idx"] == 1]


def test_a_publication_that_died_between_its_steps_is_repeated_without_doubling(
    server: Server, workspace: Workspace
) -> None:
    reviewer = desk(server, "reviewer")
    reviewer.edit(2, drawn(bbox=[5, 5, 10, 10]), kind="submit")
    published(server)
    before = rows(workspace, "review_events"), rows(workspace, "reviews")
    # As if it had died after the tables were written, before the database took note of it.
    with server.database.read() as connection:
        done, last = progress(connection, server.project)
    assert done == last
    lost = PROGRESS.update().values(published_seq=max(0, last - 2))
    server.database.write(lambda c: c.execute(lost))
    assert Publisher(server.project, workspace, server.database).publish() == last
    assert (rows(workspace, "review_events"), rows(workspace, "reviews")) == before


def test_what_is_opened_once_more_stands_until_it_is_approved_again(server: Server, workspace: Workspace) -> None:
    reviewer = desk(server, "reviewer")
    reviewer.edit(4, {"op": "negative"}, kind="submit")
    reviewer.edit(4, kind="reopen", note="there is one")
    reviewer.edit(4, drawn(bbox=[5, 5, 10, 10]))
    published(server)
    of_frame = "SELECT count(*) AS n FROM objects WHERE frame_idx = 4"
    assert View.of(workspace).sql(of_frame).to_pylist() == [{"n": 0}]
    reviewer.edit(4, kind="approve")
    published(server)
    assert View.of(workspace).sql(of_frame).to_pylist() == [{"n": 1}]


def state(server: Server) -> Any:
    """All that the app database knows of the project's frames, but for its own numbers of frames."""
    found = []
    with server.database.read() as connection:
        for row in connection.execute(select(FRAMES).order_by(FRAMES.c.stream_id, FRAMES.c.frame_idx)).all():
            values = {name: value for name, value in row._mapping.items() if name != "frame_id"}
            found.append((values, objects_of(connection, row.frame_id)))
        n = connection.execute(select(func.count()).select_from(EVENTS)).scalar_one()
    return found, n


def test_an_app_database_that_lost_all_is_made_again_from_the_tables(server: Server, workspace: Workspace) -> None:
    published(server)
    before = state(server)
    for table in (EVENTS, OBJECTS, FRAMES, PROGRESS):
        server.database.write(lambda c, table=table: c.execute(delete(table)))  # type: ignore[misc]
    assert recovery.check(server.database, server.project, workspace) == before[1]
    assert state(server) == before
    assert recovery.check(server.database, server.project, workspace) == 0
    with server.database.read() as connection:
        assert list(recovery.gaps(connection, server.project)) == []


def test_a_new_project_of_the_same_name_begins_without_any_event(database: Database) -> None:
    ann, _, _ = people(database)
    record(database, edit({"op": "delete", "object_id": "model-aaa"}, base=0), ann)
    database.write(lambda c: leases.take(c, "crossing", ann, [("yard/gate", 7)], 1, 10**12))
    database.write(lambda c: recovery.forget(c, "crossing"))
    with database.read() as connection:
        assert progress(connection, "crossing") == (0, 0)
        assert leases.active(connection, "crossing") == []
    assert record(database, edit({"op": "negative"}, base=0), ann)["seq"] == 2


def test_an_app_database_of_a_backup_is_refused_until_it_is_to_be_recovered(
    server: Server, workspace: Workspace
) -> None:
    before = state(server)
    last = before[1]
    server.database.write(lambda c: c.execute(delete(EVENTS).where(EVENTS.c.seq == last)))
    server.database.write(lambda c: c.execute(PROGRESS.update().values(last_seq=last - 1, published_seq=last - 1)))
    with pytest.raises(UserError, match="winnow serve --recover"):
        recovery.check(server.database, server.project, workspace)
    assert recovery.check(server.database, server.project, workspace, recovers=True) == 1
    assert state(server) == before


def test_doctor_compares_the_app_database_with_the_tables(server: Server, workspace: Workspace, tmp_path: Path) -> None:
    file = Path(str(server.database.engine.url.database))
    known = [(file, server.project), (tmp_path / "none.sqlite", "x")]
    assert [finding.level for finding in checks.examine(workspace, known)] == ["ok"]
    reviewer = desk(server, "reviewer")
    server.client.app.state.reviews.of(server.project).note_edits = lambda: None  # type: ignore[attr-defined]
    reviewer.edit(1, drawn(bbox=[5, 5, 10, 10]))
    (tail,) = checks.examine(workspace, known)
    assert (tail.level, tail.found) == ("note", "the tables lack the last event")
    published(server)
    with server.database.read() as connection:
        _, last = progress(connection, server.project)
    for change, found in (
        ({"last_seq": last - 1}, f"the app database has {last - 1:,} events, the tables have {last:,}"),
        ({"published_seq": last + 5, "last_seq": last + 5}, f"{last + 5:,} events were published, the tables have "),
    ):
        server.database.write(lambda c, change=change: c.execute(PROGRESS.update().values(change)))  # type: ignore[misc]
        assert found in next(checks.examine(workspace, known)).found
    server.database.write(lambda c: c.execute(PROGRESS.update().values(last_seq=last, published_seq=last)))
    assert [finding.level for finding in checks.examine(workspace, known)] == ["ok"]


def test_edits_of_an_image_that_changed_meanwhile_do_not_stop_others(server: Server, workspace: Workspace) -> None:
    reviewer = desk(server, "reviewer")
    reviewer.edit(5, {"op": "negative"}, kind="submit")
    changed = FRAMES.update().where(FRAMES.c.frame_idx == 5).values(content_hash="f" * 64)
    server.database.write(lambda c: c.execute(changed))
    published(server)
    assert not [row for row in rows(workspace, "reviews") if row["content_hash"] == "f" * 64]
    with server.database.read() as connection:
        done, last = progress(connection, server.project)
    assert done == last


def test_a_new_run_of_the_detector_suggests_and_changes_nothing(tmp_path: Path) -> None:
    workspace = annotated(tmp_path)
    (tmp_path / "accounts").mkdir()
    server = served(workspace, tmp_path / "accounts")
    reviewer = Desk(server, desk(server, "reviewer").headers)
    (model,) = reviewer.frame(0)["objects"]
    reviewer.edit(0, {"op": "set", "object_id": model["object_id"], "bbox": [100, 50, 20, 20]}, kind="submit")
    reviewer.edit(1, {"op": "delete", "object_id": reviewer.frame(1)["objects"][0]["object_id"]}, kind="submit")
    published(server)
    before = [reviewer.frame(idx)["objects"] for idx in (0, 1)]
    reviews = rows(workspace, "reviews")
    with held_at_hand():
        go(workspace, tmp_path / "data", settings=settings(tmp_path, "annotate.min_score=0.2"))
    server.client.app.state.data.of(server.project).shown()  # type: ignore[attr-defined]
    wait_until(lambda: len(reviewer.frame(0)["suggestions"]) == 1)
    after = [reviewer.frame(idx) for idx in (0, 1)]
    assert [frame["objects"] for frame in after] == before
    assert rows(workspace, "reviews") == reviews
    assert Store(workspace.root).open(schemas.REVIEW_EVENTS).n_rows == 4
    # The object that was moved away is suggested where the model sees it; the rejected one is not, by its place.
    (suggested,) = after[0]["suggestions"]
    assert suggested["bbox"] == model["bbox"]
    assert after[1]["suggestions"] == []
    reviewer.edit(0, kind="reopen", note="it is there twice")
    reviewer.edit(0, {"op": "accept", "object_id": suggested["object_id"]})
    now = reviewer.frame(0)
    assert len(now["objects"]) == 2
    assert now["suggestions"] == []
