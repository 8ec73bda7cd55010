"""The manifest for Kubernetes holds no field that its resources do not have, and a command that can be run."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import requires
from typing import Any

import pytest
import typer.main
import yaml

from jobs.cli.program import program
from tests.reference import ROOT

# Of the version ray.io/v1 of KubeRay's resources.
RAY_JOB = {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
RAY_CLUSTER = {"rayVersion", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"}
HEAD_GROUP = {"rayStartParams", "template"}
WORKER_GROUP = HEAD_GROUP | {"groupName", "replicas", "minReplicas", "maxReplicas"}


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "docs" / "kuberay.yaml").read_text()))


def test_every_field_is_one_that_kuberay_knows(documents: list[dict[str, Any]]) -> None:
    job, claim = documents
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) == RAY_JOB
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) == RAY_CLUSTER
    assert set(cluster["headGroupSpec"]) == HEAD_GROUP
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in cluster["workerGroupSpecs"]:
        assert set(group) == WORKER_GROUP
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in groups:
        # KubeRay passes them on as they are: a number that is no text is refused.
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        (mount,) = container["volumeMounts"]
        (volume,) = group["template"]["spec"]["volumes"]
        assert mount["name"] == volume["name"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert f" {mount['mountPath']}/" in job["spec"]["entrypoint"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_kuberay_command_is_a_command_of_the_program(documents: list[dict[str, Any]]) -> None:
    prog, name, *words = shlex.split(documents[0]["spec"]["entrypoint"])
    assert prog == "winnow"
    command = typer.main.get_command(program())
    context = command.make_context("winnow", [name, *words], resilient_parsing=True)
    known = {option for parameter in command.get_command(context, name).params for option in parameter.opts}  # type: ignore[attr-defined]
    assert {word for word in words if word.startswith("--")} <= known


def test_the_kuberay_version_of_ray_is_supported(documents: list[dict[str, Any]]) -> None:
    major, minor, _ = documents[0]["spec"]["rayClusterSpec"]["rayVersion"].split(".")
    wanted = next(r for r in requires("winnow") or () if r.startswith("ray[data]"))
    least, limit = (re.search(rf"{sign}2\.(\d+)", wanted) for sign in (">=", "<"))
    assert least is not None
    assert limit is not None
    assert major == "2"
    assert int(least[1]) <= int(minor) < int(limit[1])
