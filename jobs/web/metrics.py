"""What Prometheus gets: the gauges of each project, as its gateway would serve them, and those of the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from threading import Lock

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from jobs.core.errors import UserError
from jobs.dispatch.overview import Overview
from jobs.dispatch.prometheus import gauges
from jobs.web.projects import Projects
from jobs.web.version import version

__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics:
    """The metrics of a server; each project remembers the records that it has read."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self._one = Lock()
        self._known: dict[str, Overview] = {}
        self.answers: Counter[int] = Counter()
        """How many requests were answered with each status."""

        self.streams: Counter[str] = Counter()
        """How many streams of events each person follows."""

    def text(self) -> str:
        """Return all metrics in the text format of Prometheus."""
        registry = CollectorRegistry()
        registry.register(ProcessCollector(registry=None))
        with self._one:
            registry.register(_Families([*self._of_server(), *self._of_projects()]))
            return generate_latest(registry).decode()

    def _of_server(self) -> Iterator[Metric]:
        about = GaugeMetricFamily("winnow_server_info", "The version of the server.", labels=["version"])
        about.add_metric([version()], 1)
        yield about
        answers = CounterMetricFamily("winnow_server_answers", "Requests answered, by status.", labels=["status"])
        for status, n in sorted(self.answers.items()):
            answers.add_metric([str(status)], n)
        yield answers
        open_streams = sum(self.streams.values())
        yield GaugeMetricFamily("winnow_server_event_streams", "Streams of events that are open.", open_streams)

    def _of_projects(self) -> Iterator[Metric]:
        readable = GaugeMetricFamily("winnow_project_up", "Whether a project can be read.", labels=["project"])
        merged: dict[str, GaugeMetricFamily] = {}
        for project in self._projects.all():
            try:
                root = project.workspace().require().root
                if project.path not in self._known:
                    self._known[project.path] = Overview(root)
                values = self._known[project.path].values()
            except (UserError, OSError):
                readable.add_metric([project.name], 0)
                continue
            readable.add_metric([project.name], 1)
            for family in gauges(values):
                mine = merged.setdefault(family.name, GaugeMetricFamily(family.name, family.documentation))
                for sample in family.samples:
                    mine.add_sample(sample.name, {"project": project.name, **sample.labels}, sample.value)
        yield readable
        yield from merged.values()


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """Return the families."""
        return self._families
