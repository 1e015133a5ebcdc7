"""The ledger's services over a real database, without HTTP, Redis or files."""

from collections.abc import Iterator

import pytest

from gateway.db.session import Database
from tests.support.clock import ManualClock
from tests.support.ledger import Teller


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database, of each kind."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def teller(database: Database, clock: ManualClock) -> Iterator[Teller]:
    """The services; whatever a test does, the audit finds nothing at its end."""
    teller = Teller(database, clock)
    yield teller
    assert teller.breaches() == []


@pytest.fixture
def ada(teller: Teller) -> str:
    """An account on the free plan: 60 points a day."""
    return teller.open_account("ada")
