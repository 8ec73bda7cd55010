"""Edits in a database of each kind: once each, in order, merged where they touch different objects."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from jobs.accounts.database import Database
from jobs.editing import frame_states, leases
from jobs.editing.errors import EditConflictError, InvalidEditError, NotAllowedError
from jobs.editing.operations import EditedObject, replayed
from jobs.editing.tables import EVENTS, FRAMES
from tests.jobs.editing.material import CONTEXT, IMAGE, edit, people, record

PLACE = ("yard/gate", 7)
BOX = [5.0, 5.0, 20.0, 10.0]


def objects(database: Database) -> dict[str, EditedObject]:
    with database.read() as connection:
        return frame_states.of_image(connection, "crossing", PLACE, "ab" * 8)[1]


def test_an_edit_is_stored_once_and_its_repetition_has_the_same_answer(database: Database) -> None:
    ann, _, _ = people(database)
    what = edit({"op": "add", "object_id": "drawn-001", "category": "van", "bbox": BOX}, base=0)
    first = record(database, what, ann)
    again = record(database, what, ann)
    assert (first["revision"], first["seq"], first["repeated"]) == (1, 2, False)
    assert again == {**first, "repeated": True}
    assert sorted(objects(database)) == ["drawn-001", "model-aaa", "model-bbb"]
    other = replace(what, ops=({"op": "negative"},))
    with pytest.raises(EditConflictError, match="it was used for another edit"):
        record(database, other, ann)


def test_edits_of_different_objects_both_stand(database: Database) -> None:
    ann, ben, _ = people(database)
    record(database, edit({"op": "set", "object_id": "model-aaa", "category": "van"}, base=0), ann)
    second = record(database, edit({"op": "set", "object_id": "model-bbb", "bbox": BOX}, base=0), ben)
    assert second["revision"] == 2
    assert [each["object_id"] for each in second["changed"]] == ["model-aaa"]
    now = objects(database)
    assert (now["model-aaa"].body["category"], now["model-aaa"].body["author"]) == ("van", "ann")
    assert (now["model-bbb"].body["bbox"], now["model-bbb"].body["author"]) == (BOX, "ben")


def test_edits_of_one_object_conflict_with_both_versions_and_nothing_is_stored(database: Database) -> None:
    ann, ben, _ = people(database)
    record(database, edit({"op": "set", "object_id": "model-aaa", "category": "van"}, base=0), ann)
    ops = (
        {"op": "set", "object_id": "model-bbb", "category": "car"},
        {"op": "delete", "object_id": "model-aaa"},
    )
    with pytest.raises(EditConflictError) as refused:
        record(database, edit(*ops, base=0), ben)
    about = refused.value.about
    (conflict,) = about["conflicts"]
    assert (about["revision"], conflict["op"], conflict["by"]) == (1, 1, "ann")
    assert conflict["theirs"]["category"] == "van"
    assert objects(database)["model-bbb"].body["category"] == "bus"
    assert record(database, edit(*ops, base=1), ben)["revision"] == 2


def test_an_object_that_somebody_deleted_conflicts_without_a_version(database: Database) -> None:
    ann, ben, _ = people(database)
    record(database, edit({"op": "delete", "object_id": "model-aaa"}, base=0), ann)
    with pytest.raises(EditConflictError) as refused:
        record(database, edit({"op": "set", "object_id": "model-aaa", "category": "van"}, base=0), ben)
    assert refused.value.about["conflicts"][0]["theirs"] is None
    # Both wanted the same: nobody has to choose.
    assert record(database, edit({"op": "delete", "object_id": "model-aaa"}, base=0), ben)["revision"] == 2


def test_a_correction_that_is_taken_back_leaves_the_object_as_it_was_found(database: Database) -> None:
    ann, _, _ = people(database)
    before = edit({"op": "set", "object_id": "model-aaa", "category": "van", "bbox": BOX}, base=0)
    record(database, before, ann)
    assert objects(database)["model-aaa"].body["author"] == "ann"
    back = {"op": "set", "object_id": "model-aaa", "category": "car", "bbox": [10.0, 20.0, 30.0, 40.0]}
    record(database, edit(back, base=1), ann)
    body = objects(database)["model-aaa"].body
    assert body["author"] is None
    assert "original" not in body


def test_nothing_here_deletes_all_and_restore_brings_one_back(database: Database) -> None:
    ann, _, _ = people(database)
    record(database, edit({"op": "negative"}, base=0), ann)
    assert all(known.is_deleted for known in objects(database).values())
    record(database, edit({"op": "restore", "object_id": "model-bbb"}, base=1), ann)
    assert [name for name, known in objects(database).items() if not known.is_deleted] == ["model-bbb"]
    with database.read() as connection:
        assert connection.execute(select(FRAMES.c.n_objects)).scalar_one() == 1


@pytest.mark.parametrize(
    ("op", "line"),
    [
        ({"op": "add", "object_id": "drawn-001", "category": "cow", "bbox": BOX}, "category 'cow' is not known"),
        ({"op": "add", "object_id": "drawn-001", "category": "car"}, "expected one of bbox, polygons, rle"),
        ({"op": "add", "object_id": "drawn-001", "category": "car", "bbox": [190.0, 0.0, 30.0, 9.0]}, "inside the fra"),
    ],
)
def test_what_cannot_be_on_the_frame_is_refused(database: Database, op: dict[str, Any], line: str) -> None:
    ann, _, _ = people(database)
    with pytest.raises(InvalidEditError, match=line):
        record(database, edit(op, base=0), ann)
    assert objects(database) == {}


def test_submitted_approved_returned_and_opened_once_more(database: Database) -> None:
    ann, ben, rita = people(database)
    submitted = record(database, edit(kind="submit", base=0), ann)
    assert submitted["state"] == "submitted"
    record(database, edit({"op": "delete", "object_id": "model-aaa"}, base=1), rita)
    with pytest.raises(EditConflictError, match="the frame changed since revision 1"):
        record(database, edit(kind="approve", base=1), rita)
    assert record(database, edit(kind="approve", base=2), rita)["state"] == "approved"
    with pytest.raises(EditConflictError, match="approved by rita"):
        record(database, edit({"op": "negative"}, base=3), ben)
    assert record(database, edit(kind="return", base=3), rita)["state"] == "returned"
    assert record(database, edit(kind="submit", base=4), ann)["state"] == "submitted"
    assert record(database, edit(kind="submit", base=5), rita)["state"] == "approved"
    assert record(database, edit(kind="reopen", base=6), rita)["state"] == "open"


def test_where_a_second_reviewer_is_required_nobody_approves_their_own(database: Database) -> None:
    _, ben, rita = people(database)
    assert record(database, edit(kind="submit", base=0), rita, needs_second=True)["state"] == "submitted"
    with pytest.raises(NotAllowedError, match="you submitted it"):
        record(database, edit(kind="approve", base=1), rita, needs_second=True)
    second = replace(ben, may_review=True)
    assert record(database, edit(kind="approve", base=1), second, needs_second=True)["state"] == "approved"


def test_numbers_and_revisions_have_no_gaps_after_refusals(database: Database) -> None:
    ann, ben, _ = people(database)
    for base in (0, 5, 0, 1, 0):
        try:
            record(database, edit({"op": "set", "object_id": "model-aaa", "text": f"{base}{ann}"}, base=base), ann)
        except (EditConflictError, InvalidEditError):
            record(database, edit({"op": "set", "object_id": "model-bbb", "text": f"{base}"}), ben)
    with database.read() as connection:
        rows = connection.execute(select(EVENTS).order_by(EVENTS.c.seq)).all()
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert [row.revision for row in rows] == list(range(len(rows)))
    again: dict[str, EditedObject] = {}
    for row in rows:
        replayed(json.loads(row.ops), again, row.revision, row.user_name, row.at_ns)
    assert {name: (o.body, o.is_deleted, o.revision) for name, o in again.items()} == {
        name: (o.body, o.is_deleted, o.revision) for name, o in objects(database).items()
    }


def test_an_edit_lengthens_the_lease_and_a_submission_ends_it(database: Database) -> None:
    ann, ben, _ = people(database)
    (lease,) = database.write(lambda c: leases.take(c, "crossing", ann, [PLACE], 1, 1_000_000_000))
    assert database.write(lambda c: leases.take(c, "crossing", ben, [PLACE], 1, 1_000_000_000)) == []
    record(database, edit({"op": "delete", "object_id": "model-aaa"}, base=0), ann)
    with database.read() as connection:
        longer = leases.of_frame(connection, "crossing", PLACE)
    assert longer is not None
    assert longer.until_ns > lease.until_ns + CONTEXT.lease_ns // 2
    record(database, edit(kind="submit", base=1), ann)
    with database.read() as connection:
        assert leases.of_frame(connection, "crossing", PLACE) is None


def test_a_suggestion_is_accepted_with_the_shape_that_the_server_knows(database: Database) -> None:
    ann, _, _ = people(database)
    suggested = {"model-new": CONTEXT.seed.objects["model-aaa"]}
    record(database, edit({"op": "accept", "object_id": "model-new"}, base=0), ann, suggestions=suggested)
    body = objects(database)["model-new"].body
    assert (body["origin"], body["score"], body["author"], body["checked_by"]) == ("model", 0.8, None, "ann")
    assert IMAGE.width == 200
