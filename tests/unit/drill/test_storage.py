"""A disk is mirrored before the move, and the mirror ends while the guest stands still."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orrery.drill import storage
from orrery.drill.migration import Now
from orrery.drill.scenario import DrillScenario, Fault, Storage
from orrery.drill.states import Event, Status
from orrery.drill.storage import carried, image
from orrery.errors import ConfigurationError, GuestError
from tests.unit.drill.sides import Side, pair


def carry(source: Side, target: Side, kind: Storage | None, *events: Event) -> None:
    """Have a disk carried while the source says these events."""

    async def run() -> None:
        async with asyncio.timeout(10), carried(kind, source, target, Path("/n.sock")) as meddle:
            assert (meddle is None) == (kind is not Storage.COPY)
            for event in events:
                assert meddle is not None
                await meddle(Now(source, target, Status.PRE_SWITCHOVER, event, None, 1.0))

    asyncio.run(run())


def names(side: Side) -> list[str]:
    return [name for name, _ in side.orders]


def test_both_sides_have_one_image_where_it_is_shared(tmp_path: Path) -> None:
    first = image(tmp_path, Storage.SHARED, "drill-a")
    first.write_bytes(b"data")
    assert image(tmp_path, Storage.SHARED, "drill-b") == first
    assert first.read_bytes() == b"data"


def test_each_side_begins_with_an_empty_image_of_its_own_where_it_is_copied(tmp_path: Path) -> None:
    first = image(tmp_path, Storage.COPY, "drill-a")
    first.write_bytes(b"old")
    again = image(tmp_path, Storage.COPY, "drill-a")
    other = image(tmp_path, Storage.COPY, "drill-b")
    assert again == first != other
    assert again.stat().st_size == other.stat().st_size == storage.SIZE_MB << 20


@pytest.mark.parametrize("kind", [None, Storage.SHARED])
def test_nothing_is_done_for_a_disk_that_both_have(kind: Storage | None) -> None:
    source, target = pair()
    carry(source, target, kind)
    assert not source.orders
    assert not target.orders


def test_the_mirror_is_ready_before_the_move_and_ends_in_its_pause() -> None:
    source, target = pair()
    source.say("JOB_STATUS_CHANGE")
    source.say("BLOCK_JOB_READY")
    paused = Event("MIGRATION", 1.0, {"status": "pre-switchover"})
    carry(source, target, Storage.COPY, paused, Event("BLOCK_JOB_COMPLETED", 1.1))
    assert names(target) == ["nbd-server-start", "block-export-add", "nbd-server-stop"]
    assert names(source) == [
        "blockdev-add",
        "blockdev-mirror",
        "block-job-cancel",
        "migrate-continue",
        "block-job-cancel",
        "blockdev-del",
    ]
    (mirror,) = source.told("blockdev-mirror")
    assert (mirror["device"], mirror["target"], mirror["sync"]) == ("data0", "copy0", "full")
    assert target.told("block-export-add")[0]["writable"]


def test_a_round_in_the_pause_does_not_end_the_mirror() -> None:
    source, target = pair()
    source.say("BLOCK_JOB_READY")
    carry(source, target, Storage.COPY, Event("MIGRATION_PASS", 1.0, {"pass": 3}))
    assert "migrate-continue" not in names(source)


def test_a_mirror_that_fails_is_an_error_and_everything_is_taken_away() -> None:
    source, target = pair()
    source.say("BLOCK_JOB_COMPLETED", error="No space left on device")
    with pytest.raises(GuestError, match="the copy of the disk failed: No space left on device"):
        carry(source, target, Storage.COPY)
    assert names(source)[-1] == "blockdev-del"
    assert names(target)[-1] == "nbd-server-stop"


def test_a_mirror_that_never_gets_ready_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MIRROR_TIMEOUT_S", 0.05)
    with pytest.raises(GuestError, match=r"not ready after 0.05 s"):
        carry(*pair(), Storage.COPY)


def test_a_copy_pauses_before_the_switch_over() -> None:
    assert "pause-before-switchover" in DrillScenario(storage=Storage.COPY).settings().capabilities
    assert not DrillScenario(storage=Storage.SHARED).settings().capabilities
    with pytest.raises(ConfigurationError, match="copy goes without fault"):
        DrillScenario(storage=Storage.COPY, fault=Fault.CANCEL).check()
