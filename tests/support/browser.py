"""A headless Chromium, driven over its DevTools pipe: no driver, no library, no open port.

The protocol is JSON, each message ended by a zero byte, on the descriptors 3 and 4 of the browser
(`--remote-debugging-pipe`).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orrery import shell
from orrery.packages.apt import Apt
from orrery.packages.unpacked import Wanted, choose

VARIABLE = "ORRERY_TEST_BROWSER"
NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
PACKAGE = "chromium-headless-shell"
# The loader's own, what scripts for a desktop need, and drivers of graphics cards (150 MB).
LEFT_OUT = {"libc6", "xdg-utils", "libgl1-mesa-dri"}
ANSWER_TIMEOUT_S = 60.0
FIRST_DESCRIPTOR = 60
OPTIONS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
)


FONTS = {
    "system-ui": "DejaVu Sans",
    "sans-serif": "DejaVu Sans",
    "monospace": "DejaVu Sans Mono",
}


class BrowserError(Exception):
    """The browser does not do what it is told."""


@dataclass(frozen=True)
class Program:
    """A browser that can be started, and the variables that it needs."""

    path: Path
    env: Mapping[str, str] = field(default_factory=dict)


def installed() -> Program | None:
    """The browser that a variable names or that is on the PATH."""
    named = os.environ.get(VARIABLE)
    if named:
        return Program(Path(named))
    for name in NAMES:
        found = shutil.which(name)
        # A snap sees neither /tmp nor the descriptors; Ubuntu's script only calls the snap.
        if found and not _is_snap(Path(found)):
            return Program(Path(found))
    return None


def unpack(folder: Path, cache: Path) -> Program:
    """Download Debian's headless Chromium and unpack it; nothing is installed.

    Raises:
        HostError: apt does not know it, or cannot be reached.
    """
    source = Apt(cache=cache, what="headless Chromium")
    version = source.show([PACKAGE])[0]["Version"]
    names = [f"{name}={one}" for name, one in source.closure([f"{PACKAGE}={version}"])]
    wanted = Wanted(PACKAGE, version, PACKAGE)
    packages = choose(wanted, source.show(names), installed=LEFT_OUT)
    source.fetch(packages, offline=False)
    source.unpack(packages, folder)
    objects = {one.parent for one in folder.rglob("*.so*") if "chromium" not in one.parts}
    return Program(
        folder / "usr" / "lib" / "chromium" / PACKAGE,
        {"LD_LIBRARY_PATH": ":".join(str(one) for one in sorted(objects))},
    )


class Browser:
    """A running browser with one tab."""

    def __init__(self, program: Program, folder: Path) -> None:
        """Start it; its profile, its fonts and its log go into a folder."""
        self.log = folder / "browser.log"
        self._numbers = itertools.count(1)
        self._buffer = b""
        self.events: list[dict[str, Any]] = []
        to_browser, self._out = _pipe()
        self._in, from_browser = _pipe()
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        argv: list[str | Path] = ["bash", "-c", script, "browser", program.path, *OPTIONS]
        argv += [f"--user-data-dir={folder / 'profile'}", "about:blank"]
        env = {
            **program.env,
            "HOME": str(folder),
            "FONTCONFIG_FILE": str(_fonts(folder)),
        }
        self._process = shell.start(
            argv, env=env, stdout=self.log, descriptors=(to_browser, from_browser)
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
            attached = {"targetId": target, "flatten": True}
            self._session = self.call("Target.attachToTarget", attached)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.tab(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def call(self, method: str, parameters: Any = None, session: str = "") -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            BrowserError: It refuses, is gone, or does not answer.
        """
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") != number:
                self.events.append(answer)
            elif "error" in answer:
                raise BrowserError(f"{method}: {answer['error']}")
            else:
                return dict(answer["result"])
        raise BrowserError(f"{method}: no answer")

    def tab(self, method: str, parameters: Any = None) -> dict[str, Any]:
        """A command for the tab."""
        return self.call(method, parameters, self._session)

    def look(self, width: int, *, dark: bool, height: int = 900, media: str = "screen") -> None:
        """Choose the width of the window [CSS px] and the scheme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.tab("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tab("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})

    def open(self, page: Path) -> None:
        """Load a page to its end; events of the one before are forgotten."""
        self.events.clear()
        self.tab("Page.navigate", {"url": page.resolve().as_uri()})
        for message in self._messages():
            self.events.append(message)
            if message.get("method") == "Page.loadEventFired":
                return

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        parameters = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.tab("Runtime.evaluate", parameters)
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """What the console would show: errors, warnings, exceptions."""
        self.evaluate("new Promise(done => setTimeout(done, 50))")
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            if event.get("method") == "Log.entryAdded":
                found.append(parameters["entry"]["text"])
            if event.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                found.append(json.dumps(parameters))
        return found

    def requests(self) -> list[str]:
        """Addresses that the page asked for."""
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def picture(self, path: Path) -> None:
        """Write the whole page as a PNG."""
        parameters = {"format": "png", "captureBeyondViewport": True}
        data = self.tab("Page.captureScreenshot", parameters)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """End the browser."""
        shell.stop(self._process)
        for descriptor in (self._in, self._out):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _messages(self) -> Iterator[dict[str, Any]]:
        end = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            while b"\0" not in self._buffer:
                left = end - time.monotonic()
                ready = select.select([self._in], [], [], max(left, 0))[0]
                data = os.read(self._in, 1 << 20) if ready else b""
                if not data:
                    said = self.log.read_text(errors="replace")[-2000:]
                    raise BrowserError(f"the browser is gone or silent:\n{said}")
                self._buffer += data
            message, _, self._buffer = self._buffer.partition(b"\0")
            yield json.loads(message)


def _is_snap(path: Path) -> bool:
    if "snap" in path.resolve().parts:
        return True
    with path.open("rb") as program:
        start = program.read(4096)
    return start.startswith(b"#!") and b"snap" in start


def _pipe() -> tuple[int, int]:
    """A pipe with high numbers, so that 3 and 4 are free in the browser."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]


def _fonts(folder: Path) -> Path:
    """Settings of fontconfig with the fonts that matplotlib brings, so that there is one."""
    import matplotlib

    own = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    path = folder / "fonts.conf"
    folders = "".join(f"<dir>{one}</dir>" for one in (own, Path("/usr/share/fonts")))
    for name, font in FONTS.items():
        preferred = f"<prefer><family>{font}</family></prefer>"
        folders += f"<alias binding='same'><family>{name}</family>{preferred}</alias>"
    cache = f"<cachedir>{folder / 'fonts-cache'}</cachedir>"
    path.write_text(f"<?xml version='1.0'?><fontconfig>{folders}{cache}</fontconfig>\n")
    return path
