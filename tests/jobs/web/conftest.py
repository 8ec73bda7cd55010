"""A workspace with two streams of images, one of them with every flaw, and a clip; servers of it, and of empty ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobs.demo import SETTINGS, write_sample
from jobs.storage.workspace import Workspace
from jobs.web.oidc_provider import Provider
from tests.helpers import go, scenery, write_clip, write_noise_stream
from tests.jobs.accounts.conftest import KINDS
from tests.jobs.web import served as sites
from tests.jobs.web.material import Server, served
from tests.jobs.web.oidc_tries import forget_tries, read
from tests.openid_provider import ProviderProcess, provider_process
from tests.postgresql import cluster, new_database
from transforms.synthetic import Sample

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    with cluster() as socket:
        yield socket


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a file: as long as it is there, an event loop runs in this thread."""
    # Imported here: most tests of the server need none.
    from tests.jobs.web.browsing import chromium

    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sites.Site]:
    with sites.served(tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[sites.Site]:
    with sites.served(tmp_path / "root") as found:
        yield found


@pytest.fixture(params=KINDS)
def any_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sites.Site]:
    url = None if request.param == "sqlite" else new_database(request.getfixturevalue("postgresql"))
    with sites.served(tmp_path / "root", url) as found:
        yield found


@pytest.fixture(scope="session")
def web_inputs(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path) -> Path:
    """The folder of the inputs: `cam` and `sparse` have images, `drive.mp4` has forty frames, a keyframe every ten."""
    folder = tmp_path_factory.mktemp("web-inputs")
    shutil.copytree(sample_folder, folder / "cam")
    sparse = folder / "sparse"
    sparse.mkdir()
    # Every fifth number, with a gap from 50 to 99, and names that say when each was taken.
    for number in (*range(0, 50, 5), *range(100, 150, 5)):
        source = sample_folder / f"image_{number % 40}.jpg"
        shutil.copy2(source, sparse / f"image_{number}.jpg")
    # A frame a second, from ten seconds before eleven o'clock, with a pause of a minute.
    for number in range(20):
        write_noise_stream(folder / "timed", [number])
        second = number if number < 15 else number + 60
        name = f"{'10-59' if second < 10 else f'11-{(second - 10) // 60:02d}'}-{(50 + second) % 60:02d}.jpg"
        (folder / "timed" / "image_0.jpg").rename(folder / "timed" / f"2024-01-15_{name}")
    # A camera that stands still while something passes by, which the motion detector finds.
    write_sample(folder / "visited", Sample(640, 360, timeline=(("moving", 10), ("visited", 30)), broken=False))
    write_clip(folder / "drive.mp4", scenery(40), gop=10)
    return folder


@pytest.fixture(scope="session")
def web_workspace(tmp_path_factory: pytest.TempPathFactory, web_inputs: Path) -> Workspace:
    """The workspace of a run on them with a motion detector, to be read only."""
    workspace = Workspace.at(tmp_path_factory.mktemp("web") / "tables")
    settings = ("stages=[+annotate]", *SETTINGS)
    go(
        workspace,
        *(web_inputs / name for name in ("cam", "sparse", "timed", "visited", "drive.mp4")),
        settings=settings,
    )
    return workspace


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, web_workspace: Workspace) -> Server:
    """A server of that workspace."""
    return served(web_workspace, tmp_path_factory.mktemp("accounts"))


@pytest.fixture(scope="module")
def one_openid() -> Iterator[ProviderProcess]:
    with provider_process() as found:
        yield found


@pytest.fixture
def openid(one_openid: ProviderProcess) -> ProviderProcess:
    """A provider that does nothing wrong yet."""
    one_openid.control()
    return one_openid


@pytest.fixture(scope="module")
def one_openid_site(one_openid: ProviderProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sites.Site]:
    folder = tmp_path_factory.mktemp("oidc")
    with sites.served(folder / "root", oidc=read(folder, one_openid)) as found:
        yield found


@pytest.fixture
def openid_site(one_openid_site: sites.Site) -> sites.Site:
    """A server that has not asked its provider yet; a server asks once an hour what one says of itself."""
    assert one_openid_site.settings.oidc is not None
    one_openid_site.app.state.provider = Provider(one_openid_site.settings.oidc)
    forget_tries(one_openid_site)
    return one_openid_site
