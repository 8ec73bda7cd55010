"""The screen of `winnow top`: the gateway, the queue, and how far every job is, with keys to control them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, Label, Static

from jobs.core.errors import UserError, one_line
from jobs.core.naming import many, shortened
from jobs.dispatch import job_control
from jobs.dispatch.job_listing import asked_inputs
from jobs.dispatch.job_queue import QueuedJob
from jobs.dispatch.overview import Overview
from jobs.records.progress import Progress
from jobs.runs import job_requests
from jobs.runs.follow import duration
from jobs.storage.workspace import Workspace

_EVERY_S = 1.0
_ENDED_SHOWN = 20
_JOB_COLUMNS = (
    *("job", "state", "stage", "frames", "frames/s", "left", "priority", "kept", "took", "inputs", "last error"),
)
_STAGE_COLUMNS = ("stage", "frames in", "rows out", "reused", "quarantined", "seconds", "frames/s")
_ORDER = {"running": 0, "pending": 1, "paused": 2, "failed": 3}

Rows = Sequence[tuple[str, Sequence[str]]]


class Top(App[None]):
    """The jobs of a workspace, the running ones first."""

    TITLE = "winnow top"
    CSS = "#gateway, #errors { height: auto; padding: 0 1; } #jobs { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("p", "request('pause')", "Pause"),
        ("r", "request('resume')", "Resume"),
        ("c", "cancel", "Cancel"),
        ("o", "open", "Open"),
        ("q", "quit", "Quit"),
    ]

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self.overview = Overview(workspace.root)
        # Kept as attributes, since the app searches only the topmost screen for widgets.
        self.gateway, self.errors = Static(id="gateway"), Static(id="errors")
        self.table: DataTable[Text] = DataTable(id="jobs", cursor_type="row", zebra_stripes=True)

    def compose(self) -> ComposeResult:
        """Return the widgets of the screen."""
        yield self.gateway
        yield self.table
        yield self.errors
        yield Footer()

    def on_mount(self) -> None:
        """Update the screen about every second from now on."""
        self.table.add_columns(*_JOB_COLUMNS)
        self.update_view()
        self.set_interval(_EVERY_S, self.update_view)

    def update_view(self) -> None:
        """Show the workspace as it is now."""
        values = self.overview.values()
        show_rows(self.table, _job_rows(self.overview, values))
        self.gateway.update(Text(_headline(values)))
        errors = [f"{error['job_id']}: {error['error']}" for error in values["errors"]]
        self.errors.update(Text("\n".join(errors)))

    @property
    def chosen(self) -> str | None:
        """Return the id of the job that the cursor is on."""
        return chosen_key(self.table)

    def action_request(self, word: str) -> None:
        """Send a request to the job that the cursor is on."""
        if self.chosen is not None:
            self.request(word, self.chosen)

    def action_cancel(self) -> None:
        """Cancel the job that the cursor is on, after a confirmation."""
        if (job_id := self.chosen) is not None:
            self.push_screen(
                ConfirmCancel(f"Cancel job {job_id} for good?"), lambda sure: self.request("cancel", job_id, sure)
            )

    def action_open(self) -> None:
        """Show the stages of the job that the cursor is on."""
        if self.chosen is not None and not isinstance(self.screen, JobScreen):
            self.push_screen(JobScreen(self.overview, self.chosen))

    def on_data_table_row_selected(self) -> None:
        """Do with Enter what `o` does."""
        self.action_open()

    def request(self, word: str, job_id: str, sure: bool | None = True) -> None:
        """Send a request to a job, and show the result."""
        if not sure:
            return
        try:
            job = job_control.find(self._workspace, job_id)
            state = {"pause": job_requests.pause, "resume": job_requests.resume, "cancel": job_requests.cancel}[word](
                job
            )
        except UserError as error:
            self.notify(one_line(error), severity="error", markup=False)
            return
        if word == "resume" and not state.queued and state.state != "running":
            self.notify(f"it is not of the queue: winnow job resume {job_id}", severity="warning", markup=False)
        else:
            asked = f", asked to {state.request.word}" if state.request else ""
            self.notify(f"job {job_id} is {state.state}{asked}", markup=False)
        self.update_view()


class JobScreen(Screen[None]):
    """One job: frames in and rows out of each stage."""

    CSS = "#about { height: auto; padding: 0 1; } #stages { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "app.pop_screen", "Back")]

    def __init__(self, overview: Overview, job_id: str) -> None:
        super().__init__()
        self._overview = overview
        self._job_id = job_id

    def compose(self) -> ComposeResult:
        """Return the widgets of the screen."""
        yield Static(id="about")
        yield DataTable[Text](id="stages", cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Update the screen about every second from now on."""
        self.query_one("#stages", DataTable).add_columns(*_STAGE_COLUMNS)
        self.update_view()
        self.set_interval(_EVERY_S, self.update_view)

    def update_view(self) -> None:
        """Show the job as it is now."""
        job = next((job for job in self._overview.jobs() if job.job_id == self._job_id), None)
        progress = self._overview.progress(self._job_id)
        state = "cleared" if job is None else job.state.state
        error = f"\n{job.error or progress.error}" if job and (job.error or progress.error) else ""
        frames = f", {many(progress.frames, 'frame')}" if progress.frames is not None else ""
        quarantined = f", {progress.quarantined:,} quarantined" if progress.quarantined else ""
        about = f"job {self._job_id}: {state}, attempt {progress.attempt}{frames}{quarantined}{error}"
        self.query_one("#about", Static).update(Text(about))
        show_rows(self.query_one("#stages", DataTable), _stage_rows(progress))


class ConfirmCancel(ModalScreen[bool]):
    """Asks for a confirmation."""

    CSS = "Sure { align: center middle; } Label { padding: 1 3; background: $surface; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("y", "dismiss(True)", "Yes"),
        ("n,escape", "dismiss(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Return the widgets of the screen."""
        yield Label(f"{self._question}  y / n", markup=False)


def show_rows(table: DataTable[Text], rows: Rows) -> None:
    """Show rows, each under a key, and leave the cursor on the row it was on."""
    before, place = chosen_key(table), table.cursor_row
    table.clear()
    for key, cells in rows:
        table.add_row(*(Text(cell) for cell in cells), key=key)
    keys = [key for key, _ in rows]
    if keys:
        table.move_cursor(row=keys.index(before) if before in keys else min(place, len(keys) - 1))


def chosen_key(table: DataTable[Text]) -> str | None:
    """Return the key of the row that the cursor is on."""
    if not table.row_count:
        return None
    return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value


def _headline(values: dict[str, Any]) -> str:
    gateway, queue = values["gateway"], values["queue"]
    who = f"gateway: process {gateway.get('pid')} on {gateway.get('host')}" if gateway else "no gateway is running"
    states = ", ".join(f"{n:,} {state}" for state, n in values["jobs"].items() if n)
    return f"{values['workspace']}\n{who}; {queue['depth']:,} waiting, {queue['due']:,} due\n{states or 'no jobs yet'}"


def _job_rows(overview: Overview, values: dict[str, Any]) -> Rows:
    """Return a row for each job: those that run, wait and stand still, and the last of those that are over."""
    jobs = overview.jobs()
    running = {job["job_id"]: job for job in values["running"]}
    turn = {job["job_id"]: place for place, job in enumerate(values["waiting"])}
    over = [job for job in jobs if job.state.is_final][-_ENDED_SHOWN:]
    others = [job for job in jobs if job.state.state in _ORDER]
    others.sort(key=lambda job: (_ORDER[job.state.state], turn.get(job.job_id, 0), job.submitted_ns))
    return [
        (job.job_id, _cells(job, running.get(job.job_id, {}), overview.progress(job.job_id)))
        for job in [*others, *reversed(over)]
    ]


def _cells(job: QueuedJob, progress: dict[str, Any], journal: Progress) -> list[str]:
    asked = f", asked: {job.state.request.word}" if job.state.request else ""
    waits_s = (job.not_before_ns - time.time_ns()) / 1e9
    later = f", in {duration(waits_s)}" if job.state.state == "pending" and waits_s > 0 else ""
    total, left = progress.get("total"), progress.get("eta_s")
    frames = f"{progress['done']:,}/{total:,}" if total else "" if journal.frames is None else f"{journal.frames:,}"
    took = journal.seconds()
    return [
        job.job_id,
        f"{job.state.state}{asked}{later}",
        progress.get("stage") or "",
        frames,
        f"{progress['frames_per_second']:,.0f}" if progress.get("frames_per_second") else "",
        "" if left is None else duration(left),
        str(job.priority) if job.state.queued else "",
        "" if journal.kept is None else f"{journal.kept:,}",
        "" if took is None else duration(took),
        shortened(asked_inputs(job) or journal.inputs),
        job.error or "",
    ]


def _stage_rows(progress: Progress) -> Rows:
    """Return a row for each stage; those of one pass through the pixels are accounted for at its end."""
    rows = []
    for name in dict.fromkeys([*progress.stages, *progress.accounts]):
        part, account = progress.stages.get(name), progress.accounts.get(name)
        rate = part.frames_per_second() if part else 0.0
        if account:
            counts = [account["frames"], account["rows"], account.get("reused"), account.get("quarantined")]
            seconds = f"{account['seconds']:,.1f}"
        else:
            counts = [part.total, part.done, None, None] if part else []
            seconds = ""
        shown = ["" if count is None else f"{count:,}" for count in counts]
        rows.append((name, [name, *shown, seconds, f"{rate:,.0f}" if rate else ""]))
    return rows
