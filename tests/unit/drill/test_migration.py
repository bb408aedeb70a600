"""A migration succeeds when the destination says so, and a guest is never given up silently."""

from __future__ import annotations

import asyncio

import pytest

from orrery.drill import migration
from orrery.drill.migration import Now, Order, migrate
from orrery.drill.settings import Settings
from orrery.drill.states import Moved, Outcome, Status
from orrery.errors import ConfigurationError, MeasurementError
from tests.unit.drill.sides import Side, good_move, memory, pair

URI = "unix:/run/in.sock"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "TICK_S", 0.01)
    monkeypatch.setattr(migration, "LAST_WORD_S", 0.1)


def moved(source: Side, target: Side, order: Order | None = None) -> Moved:
    async def run() -> Moved:
        async with asyncio.timeout(10):
            return await migrate(source, target, order or Order(URI))

    return asyncio.run(run())


def test_a_move_is_one_when_the_destination_runs_the_guest() -> None:
    source, target = pair()
    source.on_migrate = good_move(source, target)
    found = moved(source, target)
    assert found.outcome is Outcome.MOVED
    assert not found.odd
    assert [status for status, _ in found.source] == ["setup", "active", "device", "completed"]
    assert found.stopped_s is not None
    assert found.resumed_s is not None
    assert found.figures()["qemu_downtime"] == 5
    assert found.figures()["memory"] == 100 << 20


def test_both_sides_have_the_settings_before_the_source_is_told() -> None:
    source, target = pair()
    source.on_migrate = good_move(source, target)
    settings = Settings(frozenset({"xbzrle"}), {"max-bandwidth": 1 << 20})
    moved(source, target, Order(URI, settings))
    for side in (source, target):
        assert side.capabilities["xbzrle"]
        assert side.capabilities["events"]
        assert side.capabilities["return-path"]
        assert side.parameters["max-bandwidth"] == 1 << 20
    names = [name for name, _ in source.orders]
    assert names.index("query-migrate-parameters") < names.index("migrate")
    assert target.told("migrate-incoming") == [{"uri": URI}]
    assert source.told("migrate") == [{"uri": URI}]


def test_what_an_earlier_migration_had_switched_on_is_off_again() -> None:
    source, target = pair()
    source.capabilities["multifd"] = True
    source.parameters["downtime-limit"] = 9
    source.on_migrate = good_move(source, target)
    moved(source, target)
    assert not source.capabilities["multifd"]
    assert source.parameters["downtime-limit"] == 300


def test_a_setting_that_is_not_kept_is_named_with_both_values_and_nothing_starts() -> None:
    source, target = pair()
    target.forgets = {"max-bandwidth"}
    settings = Settings(parameters={"max-bandwidth": 7})
    with pytest.raises(ConfigurationError, match=r"guest b: max-bandwidth is 134217728 .* to 7"):
        moved(source, target, Order(URI, settings))
    assert not source.told("migrate")


def test_a_capability_that_qemu_refuses_is_named() -> None:
    source, target = pair()
    source.refuses = {"migrate-set-capabilities"}
    settings = Settings(frozenset({"postcopy-ram"}))
    with pytest.raises(ConfigurationError, match="guest a refuses .*postcopy-ram"):
        moved(source, target, Order(URI, settings))


def test_a_capability_that_is_unknown_here_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="capability x-colo: a drill knows xbzrle"):
        Settings(frozenset({"x-colo"})).switches()


def test_a_destination_that_dies_in_the_middle_leaves_the_guest_at_the_source() -> None:
    source, target = pair()

    def script() -> None:
        source.become("setup")
        source.info = memory(50 << 20)
        source.become("active")
        target.die()
        source.info["error-desc"] = "Unable to write to socket: Broken pipe"
        source.become("failed")

    source.on_migrate = script
    found = moved(source, target)
    assert found.outcome is Outcome.FAILED
    assert found.why == "Unable to write to socket: Broken pipe"
    assert not source.told("cont")


def test_the_word_of_the_source_alone_is_no_success_and_the_guest_is_brought_back() -> None:
    """Two queues to one: the source says completed, and the destination has ended."""
    source, target = pair()

    def script() -> None:
        source.become("setup")
        source.become("active")
        source.say("STOP")
        source.become("device")
        source.become("completed")
        target.die()

    source.on_migrate = script
    found = moved(source, target)
    assert found.outcome is Outcome.RESCUED
    assert "the source says completed and is 'postmigrate', the destination has ended" in found.why
    assert source.status == "running"
    assert found.resumed_s is not None


def test_a_guest_that_runs_nowhere_is_called_lost() -> None:
    source, target = pair()

    def script() -> None:
        source.become("setup")
        source.become("active")
        source.say("STOP")
        source.become("device")
        source.become("completed")
        target.die()

    source.on_migrate = script
    source.refuses = {"cont"}
    assert moved(source, target).outcome is Outcome.LOST


def test_a_source_that_ends_takes_the_guest_along() -> None:
    source, target = pair()

    def script() -> None:
        source.become("setup")
        source.die()

    source.on_migrate = script
    found = moved(source, target)
    assert found.outcome is Outcome.LOST
    assert "is 'gone', the destination is 'inmigrate'" in found.why


def test_a_source_that_refuses_the_order_keeps_the_guest() -> None:
    source, target = pair()
    source.refuses = {"migrate"}
    found = moved(source, target)
    assert found.outcome is Outcome.FAILED
    assert found.why == "guest a: migrate: no"


def test_what_takes_too_long_is_cancelled_and_called_not_converging() -> None:
    source, target = pair()

    def script() -> None:
        source.become("setup")
        source.info = memory(1 << 20, remaining=1 << 28)
        source.become("active")

    def cancel() -> None:
        source.become("cancelling")
        source.become("cancelled")

    source.on_migrate, source.on_cancel = script, cancel
    found = moved(source, target, Order(URI, limit_s=0.05))
    assert found.outcome is Outcome.NOT_CONVERGING
    assert found.why == "it is not done after 0.05 s"
    assert len(source.told("migrate_cancel")) == 1


def test_a_judge_ends_what_will_not_come_to_an_end() -> None:
    source, target = pair()

    def script() -> None:
        source.become("setup")
        source.info = memory(1 << 20, remaining=1 << 28)
        source.become("active")
        source.say("MIGRATION_PASS", **{"pass": 2})

    def cancel() -> None:
        source.become("cancelling")
        source.become("cancelled")

    source.on_migrate, source.on_cancel = script, cancel
    found = moved(source, target, Order(URI, judge=lambda samples: f"{len(samples)} is enough"))
    assert found.outcome is Outcome.NOT_CONVERGING
    assert found.why == "1 is enough"
    assert found.samples[0].remaining == 1 << 28


def test_a_cancel_from_elsewhere_is_called_so() -> None:
    source, target = pair()

    def script() -> None:
        source.become("setup")
        source.become("active")

    def cancel() -> None:
        source.become("cancelling")
        source.become("cancelled")

    async def meddle(now: Now) -> None:
        if now.status is Status.ACTIVE and not source.told("migrate_cancel"):
            await now.source.execute("migrate_cancel")

    source.on_migrate, source.on_cancel = script, cancel
    assert moved(source, target, Order(URI, meddle=meddle)).outcome is Outcome.CANCELLED


def test_a_step_that_qemu_is_not_known_to_make_is_told() -> None:
    source, target = pair()
    script = good_move(source, target)

    def odd() -> None:
        source.become("setup")
        source.become("device")
        script()

    source.on_migrate = odd
    assert moved(source, target).odd[0] == "source: setup -> device"


def test_a_status_that_is_unknown_here_is_an_error() -> None:
    source, target = pair()
    source.on_migrate = lambda: source.become("teleporting")
    with pytest.raises(MeasurementError, match="its migration is 'teleporting'"):
        moved(source, target)


def test_a_destination_that_was_never_told_to_listen_is_not_told() -> None:
    source, target = pair()
    source.refuses = {"migrate"}
    moved(source, target, Order(URI, reach="unix:/nobody", listens=False))
    assert not target.told("migrate-incoming")
    assert source.told("migrate") == [{"uri": "unix:/nobody"}]
