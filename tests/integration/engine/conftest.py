"""A Docker with the runtime image and a network in it, and engines on top."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engine.engine_process import (
    BRIDGE,
    GATEWAY,
    IMAGE,
    NETWORK,
    SUBNET,
    EngineProcess,
)
from tests.support.docker import PrivateDocker


@pytest.fixture(scope="session")
def function_docker(private_dockerd: PrivateDocker, checkout: Path) -> PrivateDocker:
    """The private daemon, with the functions' network and the runtime image (no build needed)."""
    docker = private_dockerd.docker
    builder = "t-pool-image"
    docker("create", "--name", builder, private_dockerd.base_image, "true")
    docker("cp", f"{checkout / 'tools'}/.", f"{builder}:/srv")
    changes = ["--change", "ENV PYTHONPATH=/srv"]
    changes += ["--change", 'CMD ["python3", "-m", "orrery.runtime"]']
    docker("commit", *changes, builder, IMAGE)
    docker("rm", builder)
    # A named bridge: what a killed test run left is taken over, not met as a second route.
    bridge = f"com.docker.network.bridge.name={BRIDGE}"
    docker("network", "create", "-o", bridge, "--subnet", SUBNET, "--gateway", GATEWAY, NETWORK)
    return private_dockerd


@pytest.fixture(scope="module")
def engine(
    function_docker: PrivateDocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineProcess]:
    """One engine for all tests of a module."""
    process = EngineProcess(tmp_path_factory.mktemp("engine"), function_docker)
    process.start()
    try:
        yield process
    finally:
        process.stop()
        assert process.containers() == [], process.said()


@pytest.fixture
def own_engine(function_docker: PrivateDocker, tmp_path: Path) -> Iterator[EngineProcess]:
    """An engine that a test may break; the test starts it."""
    process = EngineProcess(tmp_path, function_docker)
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture
def short_lived_engine(function_docker: PrivateDocker, tmp_path: Path) -> Iterator[EngineProcess]:
    """A running engine whose idle containers are soon removed."""
    process = EngineProcess(tmp_path, function_docker, idle_timeout_s=1.0)
    process.start()
    try:
        yield process
    finally:
        process.stop()
