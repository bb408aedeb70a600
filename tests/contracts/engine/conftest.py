"""One engine for the tests that only need their own actions; others make one of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.engine import Client, EngineServer, settings


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    """An engine that a module's tests share."""
    with EngineServer(settings(tmp_path_factory.mktemp("engine"))) as running:
        yield running


@pytest.fixture
def api(server: EngineServer) -> Iterator[Client]:
    """A client of the shared engine, as the first user."""
    client = server.client()
    yield client
    client.close()
