"""Docker's stream taken apart, however it is cut, into bounded log lines."""

from __future__ import annotations

import asyncio
import re

import pytest

from orrery.engine.logs import SENTINEL, Demultiplexer, LogCollector

STDOUT, STDERR = 1, 2
LINE = re.compile(r"^(\S+ *) (stdout|stderr): (.*)$", re.DOTALL)


def frame(stream: int, payload: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


END = frame(STDOUT, SENTINEL + b"\n") + frame(STDERR, SENTINEL + b"\n")


def texts(lines: list[str]) -> list[tuple[str, str]]:
    found = []
    for entry in lines:
        match = LINE.match(entry)
        assert match is not None, entry
        assert len(match[1]) == 30
        assert match[1].strip().endswith("Z")
        found.append((match[2], match[3]))
    return found


def collect(data: bytes, *, limit: int = 10_000, cut: int = 10_000) -> list[tuple[str, str]]:
    async def main() -> list[str]:
        collector = LogCollector()
        collector.begin(limit)
        for start in range(0, len(data), cut):
            collector.feed(data[start : start + cut])
        collector.close()
        return collector.take()

    return texts(asyncio.run(main()))


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 8, 9, 1000])
def test_the_stream_reads_the_same_however_it_is_cut(cut: int) -> None:
    data = frame(STDOUT, b"one\ntw") + frame(STDERR, b"bad\n") + frame(STDOUT, b"o\n") + END
    assert collect(data, cut=cut) == [("stdout", "one"), ("stderr", "bad"), ("stdout", "two")]


def test_a_demultiplexer_passes_parts_of_a_frame_on_without_keeping_them() -> None:
    demultiplexer = Demultiplexer()
    data = frame(STDOUT, b"abcdef")
    assert list(demultiplexer.feed(data[:10])) == [(STDOUT, b"ab")]
    assert list(demultiplexer.feed(data[10:])) == [(STDOUT, b"cdef")]


def test_a_sentinel_behind_an_unfinished_line_keeps_the_line() -> None:
    data = frame(STDOUT, b"no newline") + END
    assert collect(data) == [("stdout", "no newline")]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert collect(frame(STDOUT, b"\xff\xfe\n") + END) == [("stdout", "\ufffd\ufffd")]


def test_an_unfinished_line_of_a_dead_container_is_kept() -> None:
    assert collect(frame(STDOUT, b"last words")) == [("stdout", "last words")]


@pytest.mark.parametrize("cut", [5, 64, 100_000])
def test_a_log_over_its_limit_ends_with_the_line_that_says_so(cut: int) -> None:
    data = b"".join(frame(STDOUT, b"x" * 59 + b"\n") for _ in range(100)) + END
    found = collect(data, limit=1000, cut=cut)
    assert len(found) == 11
    text = "Logs were truncated because the total bytes size exceeds the limit of 1000 bytes."
    assert found[-1] == ("stderr", text)


def test_a_line_without_end_is_dropped_at_the_limit_and_the_sentinel_still_found() -> None:
    async def main() -> None:
        collector = LogCollector()
        collector.begin(1000)
        for _ in range(100):
            collector.feed(frame(STDOUT, b"y" * 100))
        held = sum(len(partial) for partial in collector._partial.values())
        assert held + len(collector._lines) < 2000
        collector.feed(frame(STDOUT, b"\n") + END)
        assert await collector.complete(total_s=10)
        assert len(collector.take()) == 1

    asyncio.run(main())


def test_many_empty_lines_count_with_what_is_stored_for_them() -> None:
    assert len(collect(frame(STDOUT, b"\n" * 100_000) + END, limit=4000)) == 101


def test_both_streams_have_to_end() -> None:
    async def main() -> None:
        collector = LogCollector()
        collector.begin(1000)
        collector.feed(frame(STDOUT, SENTINEL + b"\n"))
        assert not await collector.complete(total_s=10, idle_s=0.01)
        collector.feed(frame(STDERR, SENTINEL + b"\n"))
        assert await collector.complete(total_s=10)

    asyncio.run(main())


def test_a_log_without_sentinel_is_waited_for_in_vain_only_so_long() -> None:
    async def main() -> None:
        collector = LogCollector()
        collector.begin(1000)
        assert not await collector.complete(total_s=0.01)
        collector.close()
        assert await collector.complete(total_s=0.01)
        assert await collector.ended(0.01)

    asyncio.run(main())


def test_output_between_two_activations_belongs_to_none() -> None:
    async def main() -> None:
        collector = LogCollector()
        collector.begin(1000)
        collector.feed(frame(STDOUT, b"first\n") + END)
        assert len(collector.take()) == 1
        collector.feed(frame(STDOUT, b"stray\n"))
        collector.begin(1000)
        collector.feed(frame(STDOUT, b"second\n") + END)
        assert texts(collector.take()) == [("stdout", "second")]

    asyncio.run(main())


def test_a_limit_of_zero_collects_nothing() -> None:
    assert collect(frame(STDOUT, b"text\n") + END, limit=0) == []
