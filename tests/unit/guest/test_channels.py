"""Connections to a guest end as they should: with Ctrl-C, and when QEMU is killed."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from orrery.guest import console, monitor


@pytest.mark.parametrize("ticks", range(4))
def test_an_interruption_is_not_lost_when_the_answer_comes_with_it(ticks: int) -> None:
    async def interrupted() -> None:
        answer = asyncio.get_running_loop().create_future()

        async def work() -> str:
            return str(await answer)

        task = asyncio.create_task(monitor._bounded(work(), 5))
        for _ in range(3):
            await asyncio.sleep(0)
        answer.set_result("late")
        for _ in range(ticks):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(interrupted())


def test_a_console_whose_qemu_is_killed_just_ends() -> None:
    keyboard, typist = os.pipe()
    screen, shown = os.pipe()
    ours, theirs = socket.socketpair()
    try:
        ours.sendall(b"typed, never read")
        theirs.close()
        console._relay(ours, keyboard, shown)
    finally:
        ours.close()
        for descriptor in (keyboard, typist, screen, shown):
            os.close(descriptor)
