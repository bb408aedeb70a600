"""A headless browser: one that is there, or Debian's, unpacked and not installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from orrery.errors import HostError
from orrery.packages.apt import OS_RELEASE, read_os_release
from tests.support import browser as browsers
from tests.support.browser import Browser, Program


@pytest.fixture(scope="session")
def browser_program(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A browser that can be started; what was unpacked for it is gone afterwards."""
    found = browsers.installed()
    if found:
        yield found
        return
    folder = tmp_path_factory.mktemp("chromium")
    try:
        yield browsers.unpack(folder, checkout / ".lab" / "tests" / "browser")
    except HostError as error:
        ubuntu = OS_RELEASE.exists() and read_os_release(OS_RELEASE)["ID"] == "ubuntu"
        snap = "not here: Ubuntu has Chromium as a snap only; " if ubuntu else ""
        named = f"or name one with {browsers.VARIABLE}=/path"
        pytest.skip(f"{snap}install Chromium or Chrome, {named} ({error})")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def browser(
    browser_program: Program, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A running browser."""
    running = Browser(browser_program, tmp_path_factory.mktemp("browser"))
    try:
        yield running
    finally:
        running.close()
