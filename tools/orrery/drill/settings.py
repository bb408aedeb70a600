"""Capabilities and parameters of a migration: set on both sides, and read back before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from orrery.errors import ConfigurationError, GuestError

MB = 1 << 20
ALWAYS: Mapping[str, bool] = {"events": True}
"""Events drive the drill."""
RETURN_PATH = "return-path"
"""By it the source hears what the destination says, and waits for it."""
SWITCHES = ("xbzrle", "auto-converge", "multifd", "postcopy-ram", "pause-before-switchover")
USUAL: Mapping[str, int | str] = {
    "max-bandwidth": 128 * MB,
    "downtime-limit": 300,
    "announce-initial": 50,
    "announce-max": 550,
    "announce-rounds": 5,
    "announce-step": 100,
    "cpu-throttle-initial": 20,
    "cpu-throttle-increment": 10,
    "max-cpu-throttle": 99,
    "xbzrle-cache-size": 64 * MB,
    "multifd-channels": 2,
    "multifd-compression": "none",
}
"""QEMU's own defaults: a side that had another migration before has them again."""


class Speaker(Protocol):
    """One side, as far as it is asked and told."""

    @property
    def name(self) -> str:
        """For people."""

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Run a command of QMP."""


@dataclass(frozen=True)
class Settings:
    """How a migration is done.

    Attributes:
        capabilities: Switched on, beside `ALWAYS`.
        parameters: Other than `USUAL`, by QEMU's names.
        return_path: Whether the source hears what the destination says.
    """

    capabilities: frozenset[str] = frozenset()
    parameters: Mapping[str, int | str] = field(default_factory=dict)
    return_path: bool = True

    def switches(self) -> dict[str, bool]:
        """Every capability that a drill touches.

        Raises:
            ConfigurationError: One is unknown here.
        """
        strangers = self.capabilities - set(SWITCHES)
        if strangers:
            raise ConfigurationError(
                f"capability {', '.join(sorted(strangers))}: a drill knows {', '.join(SWITCHES)}"
            )
        asked_for = {name: name in self.capabilities for name in SWITCHES}
        return {**ALWAYS, RETURN_PATH: self.return_path, **asked_for}

    def values(self) -> dict[str, int | str]:
        """Every parameter that a drill touches.

        Raises:
            ConfigurationError: One is unknown here.
        """
        strangers = set(self.parameters) - set(USUAL)
        if strangers:
            raise ConfigurationError(
                f"parameter {', '.join(sorted(strangers))}: a drill knows {', '.join(USUAL)}"
            )
        return {**USUAL, **self.parameters}


async def settle(side: Speaker, settings: Settings) -> None:
    """Have the settings on one side, and read them back.

    Raises:
        ConfigurationError: QEMU refuses one, or has another afterwards; the text names both.
        GuestError: It does not answer.
    """
    switches, values = settings.switches(), settings.values()
    wanted = [{"capability": name, "state": on} for name, on in switches.items()]
    try:
        await side.execute("migrate-set-capabilities", {"capabilities": wanted})
        await side.execute("migrate-set-parameters", values)
    except GuestError as error:
        on = [name for name in switches if name in settings.capabilities]
        raise ConfigurationError(
            f"{side.name} refuses the settings of the migration ({', '.join(on) or 'usual'}; "
            f"{dict(settings.parameters) or 'usual'}): {error}"
        ) from error
    for name, (needed, there) in (await differences(side, settings)).items():
        raise ConfigurationError(
            f"{side.name}: {name} is {there} after it was set to {needed}. Both sides need "
            f"the same, so the migration is not started."
        )


async def differences(side: Speaker, settings: Settings) -> dict[str, tuple[Any, Any]]:
    """What a side has otherwise than the settings say: what is needed, and what is there.

    Raises:
        GuestError: It does not answer.
    """
    switches = settings.switches()
    have = {
        one["capability"]: bool(one["state"])
        for one in await side.execute("query-migrate-capabilities")
    }
    found: dict[str, Any] = dict(await side.execute("query-migrate-parameters"))
    pairs = {
        name: (needed, have.get(name) if name in switches else found.get(name))
        for name, needed in {**switches, **settings.values()}.items()
    }
    return {name: (needed, there) for name, (needed, there) in pairs.items() if needed != there}
