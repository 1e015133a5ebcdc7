"""Real parts for every test: Valkey, SQLite and PostgreSQL, files, and a clock that is set by hand.

Servers start once a run; each test gets a database and a Redis of its own.
"""

import gc
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from gateway.db.migrate import upgrade
from gateway.db.session import Database
from gateway.local.valkey import Valkey
from gateway.services import Services, build_services, close_services
from gateway.settings import Settings
from tests.support.clock import ManualClock
from tests.support.postgres import PostgresServer

ROOT = Path(__file__).parent.parent
# Before anything imports torch. Models this small gain nothing from a second thread, and on busy
# cores threads that wait for each other make their tests ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
WORKER_TOKEN = "worker-token-of-the-tests"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of our own."""
    parser.addoption(
        "--publish-openapi", action="store_true", help="Write docs/api/openapi.json anew."
    )
    parser.addoption("--seed", type=int, help="Replay this seed of tests/simulation, with its log.")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """For two processes: a file stays in one, so that its fixtures are made once; long files first.

    With the long ones last, one process would wait for the other. Groups are named before
    pytest-xdist reads them, and the order is made after pytest-randomly's.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(ROOT))))
    yield
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the garbage collector need not look at it in every test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Valkey."""
    folder = tmp_path_factory.mktemp("valkey")
    server = Valkey(folder, folder / "valkey.log")
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def redis_url(valkey: str) -> str:
    """URL of an empty Redis."""
    with Redis.from_url(valkey) as redis:
        redis.flushall()
    return valkey


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL with a migrated template database.

    In a folder of its own: pytest's are swept by other runs on the machine, and a server whose
    folder changes under it shuts down.
    """
    server = PostgresServer(Path(tempfile.mkdtemp(prefix="reelgate-pg-")))
    server.make_template()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    return path


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """URL of a fresh SQLite database."""
    path = tmp_path / "reelgate.db"
    shutil.copyfile(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a fresh database; the test runs once on each kind."""
    if request.param == "sqlite":
        yield str(request.getfixturevalue("sqlite_url"))
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.fresh_database() as url:
        yield url


@pytest.fixture
def clock() -> ManualClock:
    """Noon in Shanghai on an ordinary day."""
    return ManualClock(datetime(2026, 11, 21, 4, 0, tzinfo=UTC))


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """The shipped configuration, but for plans that leave tests more room."""
    folder = tmp_path / "configs"
    shutil.copytree(ROOT / "configs", folder)
    shutil.copyfile(ROOT / "tests" / "support" / "plans.yaml", folder / "plans.yaml")
    return folder


@pytest.fixture
def services(
    database_url: str, redis_url: str, tmp_path: Path, config_dir: Path, clock: ManualClock
) -> Iterator[Services]:
    """A whole gateway's parts over real servers."""
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        storage_dir=tmp_path / "store",
        secret="a-secret-that-is-long-enough-for-the-tests",
        worker_token=WORKER_TOKEN,
        config_dir=config_dir,
    )
    built = build_services(settings, clock)
    yield built
    close_services(built)
