from __future__ import annotations

from pathlib import Path

from jobs.records.journal import Journal
from jobs.storage.workspace import Workspace
from jobs.web.journals import Filter, Journals

JOB = "20260101-000000-abcdef0"


def journal(tmp_path: Path) -> tuple[Workspace, Journal]:
    place = Workspace.at(tmp_path / "tables").create()
    written = Journal.of(place.root, JOB)
    written.write("run_started", frames=4)
    for n in range(4):
        written.write("block_done", stage="quality", frames=1, first_idx=n)
    written.write("frames_set_aside", stage="quality", frames=1, error="OSError: Needle")
    written.write("stage_done", stage="quality", frames=4, data={"stage": "curation"})
    return place, written


def test_a_page_is_a_part_of_a_list_of_known_length(tmp_path: Path) -> None:
    place, written = journal(tmp_path)
    journals = Journals()
    found = journals.page(place.root, JOB, 2, 3, Filter())
    assert ([event["n"] for event in found["events"]], found["total"], found["last"]) == ([3, 4, 5], 7, 7)
    assert found["stages"] == ["quality"]
    written.write("run_failed", error="no space left")
    rest = journals.page(place.root, JOB, 6, 100, Filter())
    assert [(event["n"], event["event"]) for event in rest["events"]] == [(7, "stage_done"), (8, "run_failed")]
    assert journals.page(place.root, JOB, 900, 100, Filter())["events"] == []


def test_filters_take_levels_stages_and_texts_also_of_what_comes_later(tmp_path: Path) -> None:
    place, written = journal(tmp_path)
    journals = Journals()

    def names(**wanted: str) -> list[str]:
        found = journals.page(place.root, JOB, 0, 100, Filter(**wanted))  # type: ignore[arg-type]
        assert found["total"] == len(found["events"])
        return [event["event"] for event in found["events"]]

    assert names(level="step") == ["run_started", "frames_set_aside", "stage_done"]
    assert names(level="warning") == ["frames_set_aside"]
    assert names(level="error") == []
    assert names(text="needle") == ["frames_set_aside"]
    assert names(text='"first_idx": 2') == ["block_done"]
    # A stage that is named elsewhere in a line is not the stage of the event.
    assert names(stage="curation") == []
    assert names(stage="quality", level="step") == ["frames_set_aside", "stage_done"]
    written.write("run_failed", error="no space left")
    assert names(level="error") == ["run_failed"]
    assert names(level="warning") == ["frames_set_aside", "run_failed"]


def test_a_line_that_cannot_be_read_is_an_event_without_fields(tmp_path: Path) -> None:
    place, written = journal(tmp_path)
    with open(str(written.path), "ab") as file:
        file.write(b"[1]\nnonsense\n")
    found = Journals().page(place.root, JOB, 7, 10, Filter())
    assert [(event["n"], event.get("event")) for event in found["events"]] == [(8, None), (9, None)]
