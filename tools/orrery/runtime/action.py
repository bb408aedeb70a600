"""The user's function: loaded once by /init, called by every /run, its output closed by a sentinel.

The function runs in this process: no pipe, no second interpreter, a no-op costs microseconds.
What it may do to the process is answered here: exceptions, `sys.exit`, a forked child that comes
back from the function, a closed stdout. What kills the process (`os._exit`, out of memory) is
seen by the engine as a lost connection.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import Any

SENTINEL = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n"
MODULE = "action"

Answer = tuple[int, bytes]


class InitError(Exception):
    """Code that cannot be started; the message is shown to the user."""


class Runtime:
    """The state of one action container: not initialised, or holding a function."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._function: Callable[[Any], Any] | None = None
        # Kept apart, so that user code that closes or redirects 1 and 2 does not lose the sentinel.
        self._streams = (os.dup(1), os.dup(2))
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                # By line: what was printed before a hang or a kill is in the log.
                stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)

    def dispatch(self, method: str, path: str, body: bytes) -> Answer:
        """Answer one request with a status and a JSON body."""
        if path not in ("/init", "/run"):
            return _error(404, "The requested resource could not be found.")
        if method != "POST":
            return _error(405, "The method is not allowed: POST is.")
        try:
            message = json.loads(body or b"{}")
        except ValueError as error:
            return _error(400, f"Error decoding JSON: {error}")
        except RecursionError:
            return _error(400, "Error decoding JSON: nested too deeply")
        if not isinstance(message, dict):
            return _error(400, "The message is not a JSON object.")
        return self._init(message) if path == "/init" else self._run(message)

    def _init(self, message: Mapping[str, Any]) -> Answer:
        if self._function is not None:
            return _error(403, "Cannot initialize the action more than once.")
        value = message.get("value")
        if not isinstance(value, dict) or not isinstance(value.get("code"), str):
            return _error(403, "Missing main/no code to execute.")
        env = value.get("env")
        for name, setting in env.items() if isinstance(env, dict) else ():
            _export(name, setting)
        try:
            function = load(value["code"], bool(value.get("binary")), value.get("main") or "main")
        except InitError as error:
            self._end_log(str(error))
            return _error(502, str(error))
        except BaseException as error:
            self._leave_child()
            self._end_log(_trace(error))
            return _error(502, f"Cannot start action: {_describe(error)}. Check logs for details.")
        self._leave_child()
        self._function = function
        return 200, b'{"ok":true}'

    def _run(self, message: Mapping[str, Any]) -> Answer:
        if self._function is None:
            return _error(500, "no action defined yet")
        for key, value in message.items():
            if key != "value":
                _export(f"__OW_{key.upper()}", value)
        failure = ""
        try:
            answer = encode(self._function(message.get("value", {})))
        except BaseException as error:
            failure = _trace(error)
            answer = 200, json.dumps({"error": _describe(error, short=True)}).encode()
        self._leave_child()
        self._end_log(failure)
        return answer

    def _leave_child(self) -> None:
        """End a child that the user's function forked and that came back out of it."""
        if os.getpid() != self._pid:
            os._exit(0)

    def _end_log(self, failure: str = "") -> None:
        """Flush what the function printed, then close both streams with the sentinel."""
        for stream in (sys.stdout, sys.__stdout__, sys.stderr, sys.__stderr__):
            with suppress(Exception):
                stream.flush()  # type: ignore[union-attr]  # None is suppressed like a closed one
        if failure:
            _write_all(self._streams[1], failure.encode(errors="backslashreplace").strip() + b"\n")
        for descriptor in self._streams:
            _write_all(descriptor, SENTINEL)


def load(code: str, binary: bool, main: str) -> Callable[[Any], Any]:
    """Make the function from source text or from the base64 of a zip.

    Raises:
        InitError: The code is not usable.
        BaseException: Whatever the user's module raises when it is executed.
    """
    folder = Path(tempfile.mkdtemp(prefix="action-"))
    path = folder / ("__main__.py" if binary else f"{MODULE}.py")
    if binary:
        _unpack(code, folder)
        if not path.is_file():
            raise InitError("Zip file does not include mandatory files: __main__.py")
    else:
        path.write_text(code, encoding="utf-8")
    os.chdir(folder)
    for packages in folder.glob("virtualenv/lib/python3*/site-packages"):
        sys.path.insert(0, str(packages))
    sys.path.insert(0, str(folder))
    module = ModuleType(MODULE)
    module.__file__ = str(path)
    sys.modules[MODULE] = module  # dataclasses, pickle and multiprocessing look it up
    source = path.read_bytes()
    exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - this is the job
    function = getattr(module, main, None)
    if not callable(function):
        raise InitError(f"The action has no function {main!r}.")
    return function  # type: ignore[no-any-return]  # what it is made of is the user's business


def _unpack(code: str, folder: Path) -> None:
    # Only zipped actions pay for these imports at a cold start.
    import base64

    from orrery.runtime.archive import ArchiveError, extract

    try:
        extract(base64.b64decode(code, validate=True), folder)
    except ValueError as error:
        raise InitError(f"The action's code is not base64: {error}") from error
    except ArchiveError as error:
        raise InitError(str(error)) from error


def encode(result: Any) -> Answer:
    """Turn what the function returned into an answer.

    Raises:
        TypeError, ValueError: The result has no JSON form (NaN included).
    """
    if not isinstance(result, dict | list):
        return _error(502, "The action did not return a dictionary or array.")
    text = json.dumps(result, ensure_ascii=False, allow_nan=False)
    return 200, text.encode(errors="backslashreplace")


def _describe(error: BaseException, *, short: bool = False) -> str:
    if isinstance(error, SystemExit):
        return f"The action called sys.exit({error.code!r})"
    try:
        text = str(error)
    except Exception:
        text = ""
    name = type(error).__name__
    if short:
        return text or name
    return f"{name}: {text}" if text else name


def _trace(error: BaseException) -> str:
    """The traceback as the user's code sees it: without this module's frames."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


def _export(name: str, value: Any) -> None:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    with suppress(ValueError):  # a name or a text that no environment can hold
        os.environ[name] = text.replace("\0", "")


def _error(status: int, message: str) -> Answer:
    return status, json.dumps({"error": message}).encode()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    with suppress(OSError):
        while view:
            view = view[os.write(descriptor, view) :]
