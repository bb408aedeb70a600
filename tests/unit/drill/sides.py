"""Two QEMUs at the seam to QMP: what they are told is kept, what they say is scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from orrery.drill.migration import GoneError
from orrery.drill.settings import ALWAYS, RETURN_PATH, SWITCHES, USUAL
from orrery.drill.states import Event
from orrery.errors import GuestError

STARTED_S = 1000.0


class Side:
    """A QEMU. `orders` gets every command; `on_migrate` runs when it is told to migrate."""

    def __init__(self, name: str, status: str) -> None:
        self.name = name
        self.status = status
        self.orders: list[tuple[str, dict[str, Any]]] = []
        self.capabilities: dict[str, bool] = dict.fromkeys((*ALWAYS, RETURN_PATH, *SWITCHES), False)
        self.parameters: dict[str, int | str] = dict(USUAL)
        self.info: dict[str, Any] = {"status": "none"}
        self.on_migrate: Callable[[], None] = lambda: None
        self.on_cancel: Callable[[], None] = lambda: None
        self.refuses: set[str] = set()
        self.forgets: set[str] = set()
        self.dead = False
        self._said: asyncio.Queue[Event | None] = asyncio.Queue()
        self._clock = STARTED_S

    def say(self, name: str, **data: Any) -> None:
        """Emit an event, a millisecond after the one before."""
        self._clock += 0.001
        if name == "STOP":
            self.status = "postmigrate"
        if name == "RESUME":
            self.status = "running"
        self._said.put_nowait(Event(name, self._clock, data))

    def become(self, status: str) -> None:
        """Emit a status of the migration."""
        self.info["status"] = status
        self.say("MIGRATION", status=status)

    def die(self) -> None:
        """End."""
        self.dead = True
        self._said.put_nowait(None)

    async def next(self) -> Event:
        event = await self._said.get()
        if event is None:
            raise GoneError(f"{self.name}: QEMU has ended")
        return event

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        await asyncio.sleep(0)
        if self.dead:
            raise GoneError(f"{self.name}: {command}: QEMU has ended")
        self.orders.append((command, dict(arguments or {})))
        if command in self.refuses:
            raise GuestError(f"{self.name}: {command}: no")
        answer = getattr(self, "_" + command.replace("-", "_"), None)
        return answer(dict(arguments or {})) if answer else {}

    def told(self, command: str) -> list[dict[str, Any]]:
        """Arguments of a command, each time that it came."""
        return [arguments for name, arguments in self.orders if name == command]

    def _migrate_set_capabilities(self, arguments: dict[str, Any]) -> Any:
        for one in arguments["capabilities"]:
            if one["capability"] not in self.forgets:
                self.capabilities[one["capability"]] = one["state"]
        return {}

    def _migrate_set_parameters(self, arguments: dict[str, Any]) -> Any:
        self.parameters |= {k: v for k, v in arguments.items() if k not in self.forgets}
        return {}

    def _query_migrate_capabilities(self, _: dict[str, Any]) -> Any:
        return [{"capability": k, "state": v} for k, v in self.capabilities.items()]

    def _query_migrate_parameters(self, _: dict[str, Any]) -> Any:
        return dict(self.parameters)

    def _query_migrate(self, _: dict[str, Any]) -> Any:
        return dict(self.info)

    def _query_status(self, _: dict[str, Any]) -> Any:
        return {"status": self.status}

    def _migrate(self, _: dict[str, Any]) -> Any:
        self.on_migrate()
        return {}

    def _migrate_cancel(self, _: dict[str, Any]) -> Any:
        self.on_cancel()
        return {}

    def _cont(self, _: dict[str, Any]) -> Any:
        self.status = "running"
        self.say("RESUME")
        return {}


def pair() -> tuple[Side, Side]:
    """A source that runs a guest and a destination that waits for one."""
    return Side("guest a", "running"), Side("guest b", "inmigrate")


def memory(transferred: int, *, remaining: int = 0, rounds: int = 1, **more: Any) -> dict[str, Any]:
    """What `query-migrate` says while memory is sent."""
    ram = {
        "transferred": transferred,
        "remaining": remaining,
        "total": 512 << 20,
        "dirty-sync-count": rounds,
        "dirty-pages-rate": 0,
        "mbps": 800.0,
        "page-size": 4096,
        "normal": transferred // 4096,
    }
    return {"status": "active", "ram": {**ram, **more}, "expected-downtime": 300}


def good_move(source: Side, target: Side) -> Callable[[], None]:
    """A migration in which all goes well."""

    def script() -> None:
        source.become("setup")
        target.become("setup")
        source.info = memory(100 << 20)
        source.become("active")
        target.become("active")
        source.say("MIGRATION_PASS", **{"pass": 2})
        source.say("STOP")
        source.become("device")
        target.say("RESUME")
        target.become("completed")
        source.info |= {"downtime": 5, "setup-time": 1, "total-time": 1200}
        source.become("completed")

    return script
