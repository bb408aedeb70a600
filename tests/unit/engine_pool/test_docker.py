"""The Docker client against a server that speaks as Docker does, on a socket of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from aiohttp import web

from orrery.engine.container import ProvisionError
from orrery.engine.docker import (
    ContainerSpec,
    Docker,
    DockerError,
    DockerUnreachableError,
    negotiate,
    split_image,
)
from orrery.engine.invoker import Status
from orrery.engine.workers import DockerWorkers
from tests.unit.engine_pool.fake_workers import job, settings, until


class FakeDocker:
    """Answers by a table from "METHOD path" to a status and a JSON body; remembers requests."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {
            "GET /version": (200, {"ApiVersion": "1.41", "MinAPIVersion": "1.12"}),
            "GET /v1.41/containers/json": (200, []),
        }
        self.requests: list[str] = []
        self.bodies: dict[str, Any] = {}

    async def handle(self, request: web.BaseRequest) -> web.Response:
        key = f"{request.method} {request.path}"
        self.requests.append(f"{request.method} {unquote_plus(request.path_qs)}")
        if request.can_read_body:
            self.bodies[key] = await request.json()
        status, body = self.answers.get(key, (404, {"message": f"no answer to {key}"}))
        if isinstance(body, str):
            return web.Response(status=status, text=body)
        return web.json_response(body, status=status)


def with_docker(
    folder: Path, test: Callable[[Path, FakeDocker], Coroutine[Any, Any, None]]
) -> None:
    """Run a test's coroutine with a fake daemon."""

    async def main() -> None:
        fake = FakeDocker()
        runner = web.ServerRunner(web.Server(fake.handle))
        await runner.setup()
        path = folder / "docker.sock"
        await web.UnixSite(runner, str(path)).start()
        try:
            async with asyncio.timeout(20):
                await test(path, fake)
        finally:
            await runner.cleanup()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [("1.41", "1.12", "1.41"), ("1.52", "1.44", "1.47"), ("1.60", "1.50", "1.50")],
)
def test_the_api_version_is_one_that_both_know(newest: str, oldest: str, spoken: str) -> None:
    assert negotiate(newest, oldest) == spoken


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("hello", ("hello", "latest")),
        ("hello:1", ("hello", "1")),
        ("host:5000/a/b", ("host:5000/a/b", "latest")),
        ("host:5000/a/b:2", ("host:5000/a/b", "2")),
        ("a/b@sha256:12", ("a/b", "sha256:12")),
    ],
)
def test_an_image_reference_is_split(image: str, parts: tuple[str, str]) -> None:
    assert split_image(image) == parts


def test_a_container_is_bounded_in_every_way() -> None:
    spec = ContainerSpec("i:1", "net", 128, 64, pids=100, nofile=200, tmpfs_mb=32)
    host = spec.body()["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 128 * 1024 * 1024
    assert host["PidsLimit"] == 100
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 200, "Hard": 200}]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["ReadonlyRootfs"] is True
    assert "size=32m" in host["Tmpfs"]["/tmp"]
    assert host["LogConfig"] == {"Type": "none"}
    assert host["Init"] is True
    assert host["NetworkMode"] == "net"


def test_the_message_of_a_refusal_is_kept(tmp_path: Path) -> None:
    async def check(path: Path, fake: FakeDocker) -> None:
        docker = Docker(path)
        fake.answers["POST /v1.41/containers/a/pause"] = (409, {"message": "not running"})
        with pytest.raises(DockerError, match="^not running$"):
            await docker.pause("a")
        await docker.remove("a")
        await docker.kill("a")
        await docker.close()

    with_docker(tmp_path, check)


def test_a_pull_that_fails_in_its_progress_fails(tmp_path: Path) -> None:
    async def check(path: Path, fake: FakeDocker) -> None:
        docker = Docker(path)
        progress = '{"status":"Pulling"}\r\n{"errorDetail":{"message":"denied"},"error":"denied"}'
        fake.answers["POST /v1.41/images/create"] = (200, progress)
        with pytest.raises(DockerError, match="^denied$"):
            await docker.pull("a/b")
        assert fake.requests[-1].endswith("?fromImage=a/b&tag=latest")
        await docker.close()

    with_docker(tmp_path, check)


def test_a_daemon_that_is_away_is_told_apart(tmp_path: Path) -> None:
    async def check() -> None:
        docker = Docker(tmp_path / "none.sock")
        with pytest.raises(DockerUnreachableError, match="^Docker does not answer: "):
            await docker.start("a")
        await docker.close()

    asyncio.run(check())


def make_workers(path: Path, **changes: Any) -> DockerWorkers:
    return DockerWorkers(settings(docker_socket=path, **changes))


async def refusal(workers: DockerWorkers, **changes: Any) -> ProvisionError:
    with pytest.raises(ProvisionError) as caught:
        await workers.create(job(**changes).action, lambda: None)
    return caught.value


def test_a_blackbox_image_that_cannot_be_had_is_the_developers_error(tmp_path: Path) -> None:
    async def check(path: Path, fake: FakeDocker) -> None:
        create = "POST /v1.41/containers/create"
        fake.answers[create] = (404, {"message": "No such image: image:1"})
        fake.answers["POST /v1.41/images/create"] = (404, {"message": "no such host"})
        workers = make_workers(path)
        verdict = (await refusal(workers, native=False)).verdict
        assert verdict.status is Status.DEVELOPER_ERROR
        assert verdict.result == {"error": "Failed to pull container image 'image:1'."}
        managed = (await refusal(workers)).verdict
        assert managed.status is Status.WHISK_ERROR
        await workers.stop()

    with_docker(tmp_path, check)


@pytest.mark.parametrize("native", [True, False])
def test_what_may_be_written_is_bounded_by_the_memory(tmp_path: Path, native: bool) -> None:
    async def check(path: Path, fake: FakeDocker) -> None:
        create = "POST /v1.41/containers/create"
        fake.answers[create] = (500, {"message": "enough seen"})
        workers = make_workers(path, pool_memory_mb=1024, tmpfs_mb=4096)
        error = (await refusal(workers, native=native)).verdict
        assert error.result == {"error": "Failed to provision resources to run the action."}
        host = fake.bodies[create]["HostConfig"]
        assert set(host["Tmpfs"]) == ({"/tmp"} if native else {"/tmp", "/action"})
        assert "size=128m" in host["Tmpfs"]["/tmp"]
        assert host["CpuShares"] == 256
        assert "__OW_API_HOST=http://127.0.0.1:1" in fake.bodies[create]["Env"]
        assert fake.bodies[create]["Labels"]["orrery.lab"] == "t-pool"
        await workers.stop()

    with_docker(tmp_path, check)


def test_an_image_without_a_command_is_the_developers_error(tmp_path: Path) -> None:
    async def check(path: Path, fake: FakeDocker) -> None:
        message = 'exec: "python3": executable file not found in $PATH'
        fake.answers["POST /v1.41/containers/create"] = (400, {"message": message})
        workers = make_workers(path)
        verdict = (await refusal(workers)).verdict
        assert verdict.status is Status.DEVELOPER_ERROR
        assert verdict.result == {"error": "executable file not found in image image:1"}
        await workers.stop()

    with_docker(tmp_path, check)


def test_only_containers_of_another_engine_of_this_lab_are_removed_at_the_start(
    tmp_path: Path,
) -> None:
    async def check(path: Path, fake: FakeDocker) -> None:
        workers = make_workers(path)
        listed = [
            {"Id": "dead", "Labels": {"orrery.engine": "before"}},
            {"Id": "mine", "Labels": {"orrery.engine": workers._engine}},
        ]
        fake.answers["GET /v1.41/containers/json"] = (200, listed)
        fake.answers["DELETE /v1.41/containers/dead"] = (204, "")
        await workers.start()
        assert '"orrery.lab=t-pool"' in fake.requests[1]
        assert [r for r in fake.requests if r.startswith("DELETE")] == [
            "DELETE /v1.41/containers/dead?force=1&v=1"
        ]
        await workers.stop()

    with_docker(tmp_path, check)


def test_a_removal_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orrery.engine.workers.SWEEP_AGAIN_S", 0.01)

    async def check(path: Path, fake: FakeDocker) -> None:
        fake.answers["DELETE /v1.41/containers/a"] = (500, {"message": "busy"})
        workers = make_workers(path)
        await workers.start()
        workers.abandon("a")
        await until(lambda: sum(r.startswith("DELETE") for r in fake.requests) > 2)
        fake.answers["DELETE /v1.41/containers/a"] = (204, "")
        await until(lambda: not workers._orphans)
        await workers.stop()

    with_docker(tmp_path, check)


def test_an_engine_starts_without_docker_and_looks_for_leftovers_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orrery.engine.workers.SWEEP_AGAIN_S", 0.01)

    async def check(path: Path, fake: FakeDocker) -> None:
        away = path.with_name("away.sock")
        await asyncio.to_thread(path.rename, away)
        workers = make_workers(path)
        await workers.start()
        assert not fake.requests
        await asyncio.to_thread(away.rename, path)
        await until(lambda: any("/containers/json" in request for request in fake.requests))
        await workers.stop()

    with_docker(tmp_path, check)
