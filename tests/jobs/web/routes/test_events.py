from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from jobs.dispatch import job_control
from jobs.dispatch.submit import submit
from jobs.runs.run_options import RunOptions
from jobs.storage.workspace import Workspace
from jobs.web.routes.events import MOST_STREAMS
from tests.helpers import write_noise_stream
from tests.waiting import wait_until
from tests.web_process import EventStream, server_process

pytestmark = pytest.mark.process


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace.at(tmp_path / "tables").create()


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions(inputs=(str(write_noise_stream(tmp_path / "cam", range(3))),))


def test_what_commands_do_reaches_a_page_also_after_a_cut(place: Workspace, options: RunOptions) -> None:
    with server_process(Path(str(place.root))) as server, server.browser() as browser:
        with browser.stream("GET", f"{server.api}/events") as answer:
            stream = EventStream(answer.iter_lines())
            assert stream.next()[0] == "hello"
            job_id = submit(place.root, options)
            assert stream.until("job", job_id=job_id)["state"] == "pending"
        job_control.pause(place, job_id)
        job_control.cancel(place, job_id)
        headers = {"last-event-id": stream.last_id or ""}
        with browser.stream("GET", f"{server.api}/events", headers=headers) as answer:
            after = EventStream(answer.iter_lines())
            assert after.next()[0] == "hello"
            assert after.until("job", job_id=job_id, state="cancelled")["number"] == 3
        with browser.stream("GET", f"{server.api}/events", headers={"last-event-id": "0-17"}) as answer:
            lost = EventStream(answer.iter_lines())
            assert [lost.next()[0], lost.next()[0]] == ["hello", "reset"]


def test_a_stream_ends_with_the_session_and_with_the_account(place: Workspace) -> None:
    root = Path(str(place.root))
    with server_process(root) as server, server.browser() as browser:
        with browser.stream("GET", f"{server.api}/events") as answer:
            stream = EventStream(answer.iter_lines())
            assert stream.next()[0] == "hello"
            with server.another_browser() as other:
                [mine] = [s for s in other.get(f"{server.api}/sessions").json()["sessions"] if not s["current"]]
                assert other.delete(f"{server.api}/sessions/{mine['session_id']}").status_code == 204
            with pytest.raises(StopIteration):
                stream.next()
        assert browser.get(f"{server.api}/me").status_code == 401


def test_a_server_stops_while_streams_are_open(place: Workspace) -> None:
    with (
        server_process(Path(str(place.root))) as server,
        server.browser() as browser,
        browser.stream("GET", f"{server.api}/events") as answer,
    ):
        stream = EventStream(answer.iter_lines())
        assert stream.next()[0] == "hello"
        code, _, errors = server.stop()
        with pytest.raises(StopIteration):
            stream.next()
    assert (code, errors) == (0, "")


def test_one_person_follows_a_limited_number_of_streams(place: Workspace) -> None:
    with server_process(Path(str(place.root))) as server, server.browser() as browser, ExitStack() as opened:
        answers = [opened.enter_context(browser.stream("GET", f"{server.api}/events")) for _ in range(MOST_STREAMS)]
        # Who drops what is read closes the connection.
        streams = [EventStream(answer.iter_lines()) for answer in answers]
        assert {stream.next()[0] for stream in streams} == {"hello"}
        refused = browser.get(f"{server.api}/events")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "15")
        assert refused.json()["lines"] == ["32 streams of events are open, the most for a person; try again in 15 s"]
        opened.close()
        wait_until(lambda: _is_open(browser, server.api))


def _is_open(browser: httpx.Client, api: str) -> bool:
    with browser.stream("GET", f"{api}/events") as answer:
        return answer.status_code == 200
