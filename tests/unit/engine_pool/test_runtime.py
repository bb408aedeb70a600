"""The runtime as a process on a loopback port: what it answers, prints and survives."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

SENTINEL = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"
TIMEOUT_S = 20.0


class RuntimeProcess:
    """One runtime, and what it printed."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        self._files = [folder / "stdout", folder / "stderr"]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
            with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "orrery.runtime", "--fd", str(listener.fileno())],
                    cwd=folder,
                    env={"PYTHONPATH": str(checkout / "tools"), "TMPDIR": str(folder)},
                    stdout=out,
                    stderr=err,
                    pass_fds=[listener.fileno()],
                )

    def post(self, path: str, message: Any, *, method: str = "POST") -> tuple[int, Any]:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            data = response.read()
            assert int(response.headers["Content-Length"]) == len(data)
            return response.status, json.loads(data)
        finally:
            connection.close()

    def init(self, code: str, **value: Any) -> tuple[int, Any]:
        return self.post("/init", {"value": {"name": "a", "code": code, "binary": False, **value}})

    def run(self, value: Any = None, **message: Any) -> tuple[int, Any]:
        return self.post("/run", {"value": value or {}, **message})

    def prints(self) -> tuple[list[str], list[str]]:
        out, err = (path.read_text(encoding="utf-8").splitlines() for path in self._files)
        return out, err

    def end(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT_S)


@pytest.fixture
def runtime(tmp_path: Path, checkout: Path) -> Iterator[RuntimeProcess]:
    process = RuntimeProcess(tmp_path, checkout)
    try:
        yield process
    finally:
        process.end()


def zipped(files: Mapping[str, str], *, links: Mapping[str, str] | None = None) -> str:
    """Base64 of a zip with these files and symbolic links."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, target)
    return base64.b64encode(buffer.getvalue()).decode()


def test_run_before_init_and_a_second_init_are_refused(runtime: RuntimeProcess) -> None:
    assert runtime.run() == (500, {"error": "no action defined yet"})
    assert runtime.init("def main(args): return {'got': args}") == (200, {"ok": True})
    error = {"error": "Cannot initialize the action more than once."}
    assert runtime.init("def main(args): return {}") == (403, error)
    assert runtime.run({"x": "\u00e9"}) == (200, {"got": {"x": "\u00e9"}})


def test_an_array_is_a_result(runtime: RuntimeProcess) -> None:
    runtime.init("def main(args): return [1, 2]")
    assert runtime.run() == (200, [1, 2])


def test_another_main_is_called_and_a_missing_one_named(runtime: RuntimeProcess) -> None:
    error = {"error": "The action has no function 'other'."}
    assert runtime.init("def main(args): return {}", main="other") == (502, error)
    assert runtime.init("def other(args): return {'o': 1}", main="other")[0] == 200
    assert runtime.run() == (200, {"o": 1})


def test_the_environment_comes_from_init_and_from_every_run(runtime: RuntimeProcess) -> None:
    code = "import os\nSEEN = os.environ['MODE']\ndef main(args):\n"
    code += " return {k: os.environ.get(k) for k in args['names']} | {'seen': SEEN}"
    assert runtime.init(code, env={"MODE": "fast", "N": 3, "NONE": None, "=": "x"})[0] == 200
    names = ["N", "NONE", "__OW_ACTIVATION_ID", "__OW_DEADLINE"]
    status, found = runtime.run({"names": names}, activation_id="a1", deadline="12")
    assert status == 200
    assert found == {
        "seen": "fast",
        "N": "3",
        "NONE": "",
        "__OW_ACTIVATION_ID": "a1",
        "__OW_DEADLINE": "12",
    }
    assert runtime.run({"names": names}, activation_id="a2")[1]["__OW_ACTIVATION_ID"] == "a2"


def test_both_streams_end_with_the_sentinel_after_every_run(runtime: RuntimeProcess) -> None:
    code = "import sys\ndef main(args):\n print('out')\n print('err', file=sys.stderr)\n return {}"
    runtime.init(code)
    runtime.run()
    runtime.run()
    assert runtime.prints() == (["out", SENTINEL] * 2, ["err", SENTINEL] * 2)


def test_the_sentinel_survives_a_closed_and_a_redirected_stdout(runtime: RuntimeProcess) -> None:
    code = "import io, os, sys\ndef main(args):\n"
    code += " os.close(1); os.close(2); sys.stdout = io.StringIO(); return {}"
    runtime.init(code)
    assert runtime.run() == (200, {})
    assert runtime.prints() == ([SENTINEL], [SENTINEL])


@pytest.mark.parametrize(
    ("statement", "error", "trace"),
    [
        ("raise ValueError('bad')", "bad", "ValueError: bad"),
        ("raise KeyError", "KeyError", "KeyError"),
        ("import sys; sys.exit(3)", "The action called sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", "KeyboardInterrupt"),
        ("main(args)", "maximum recursion depth exceeded", "RecursionError"),
        (
            "return {'x': object()}",
            "Object of type object is not JSON serializable",
            "TypeError",
        ),
        ("return {'x': float('nan')}", "Out of range float values are not JSON compliant", "Value"),
    ],
)
def test_an_exception_is_an_error_with_its_traceback_on_stderr(
    runtime: RuntimeProcess, statement: str, error: str, trace: str
) -> None:
    runtime.init(f"def main(args):\n if args:\n  return {{'fine': 1}}\n {statement}")
    status, found = runtime.run()
    assert status == 200
    assert found["error"].startswith(error)
    out, err = runtime.prints()
    assert out == [SENTINEL]
    assert err[-2].startswith(trace)
    assert err[-1] == SENTINEL
    assert not any("orrery/runtime/action.py" in line and "_run" in line for line in err[:3])
    assert runtime.run({"again": True}) == (200, {"fine": 1})


@pytest.mark.parametrize("value", ["None", "3", "'text'", "(1, 2)"])
def test_other_results_are_refused(runtime: RuntimeProcess, value: str) -> None:
    runtime.init(f"def main(args): return {value}")
    error = {"error": "The action did not return a dictionary or array."}
    assert runtime.run() == (502, error)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import nothere", "ModuleNotFoundError: No module named 'nothere'"),
        ("def main(:", "SyntaxError: invalid syntax (action.py, line 1)"),
        ("raise SystemExit(2)", "The action called sys.exit(2)"),
    ],
)
def test_code_that_does_not_load_says_why(runtime: RuntimeProcess, code: str, error: str) -> None:
    status, found = runtime.init(code)
    assert (status, found) == (
        502,
        {"error": f"Cannot start action: {error}. Check logs for details."},
    )
    out, err = runtime.prints()
    assert out == [SENTINEL]
    assert err[-1] == SENTINEL


def test_init_without_code_is_refused(runtime: RuntimeProcess) -> None:
    error = {"error": "Missing main/no code to execute."}
    assert runtime.post("/init", {"value": {"name": "a"}}) == (403, error)
    assert runtime.post("/init", []) == (400, {"error": "The message is not a JSON object."})


def test_a_child_that_comes_back_answers_nothing(runtime: RuntimeProcess) -> None:
    runtime.init("import os\ndef main(args):\n os.fork()\n return {'pid': os.getpid()}")
    for _ in range(3):
        assert runtime.run() == (200, {"pid": runtime.process.pid})
    out, err = runtime.prints()
    assert out.count(SENTINEL) == err.count(SENTINEL) == 3


def test_a_child_that_hangs_does_not_hold_up_the_answer(
    runtime: RuntimeProcess, tmp_path: Path
) -> None:
    code = "import os, signal\ndef main(args):\n pid = os.fork()\n"
    code += " if pid == 0:\n  signal.pause()\n return {'pid': pid}"
    runtime.init(code)
    children = [runtime.run()[1]["pid"] for _ in range(2)]
    assert len(set(children)) == 2
    for child in children:
        subprocess.run(["kill", "-9", str(child)], check=True, timeout=TIMEOUT_S)


def test_an_exit_of_the_process_is_a_lost_connection(runtime: RuntimeProcess) -> None:
    runtime.init("import os\ndef main(args):\n print('bye')\n os._exit(3)")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        runtime.run()
    assert runtime.process.wait(TIMEOUT_S) == 3
    assert runtime.prints()[0] == ["bye"]


def test_a_zip_brings_modules_and_data(runtime: RuntimeProcess) -> None:
    main = "import helper, pathlib\ndef main(args):\n"
    main += " return {'n': helper.N, 'text': pathlib.Path('data/a.txt').read_text()}"
    files = {"__main__.py": main, "helper.py": "N = 7", "data/a.txt": "hello"}
    code = zipped(files, links={"data/b.txt": "a.txt"})
    assert runtime.init(code, binary=True) == (200, {"ok": True})
    assert runtime.run() == (200, {"n": 7, "text": "hello"})


def test_a_zip_brings_a_virtualenv(runtime: RuntimeProcess) -> None:
    library = "virtualenv/lib/python3.11/site-packages/inside.py"
    main = "import inside\ndef main(args): return {'n': inside.N}"
    runtime.init(zipped({"__main__.py": main, library: "N = 8"}), binary=True)
    assert runtime.run() == (200, {"n": 8})


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (zipped({"../evil.py": ""}), "The zip archive has an unsafe member: '../evil.py'"),
        (
            zipped({"a/../../evil.py": ""}),
            "The zip archive has an unsafe member: 'a/../../evil.py'",
        ),
        (zipped({"/evil.py": ""}), "The zip archive has an unsafe member: '/evil.py'"),
        (
            zipped({"__main__.py": ""}, links={"out": "/etc"}),
            "The zip archive has an unsafe link: 'out'",
        ),
        (
            zipped({"p/q/x": ""}, links={"p/q/r": "../..", "y": "p/q/r/.."}),
            "The zip archive has an unsafe link: 'y'",
        ),
        (zipped({"main.py": ""}), "Zip file does not include mandatory files: __main__.py"),
        ("AAAA", "The action's code is not a usable zip archive: File is not a zip file"),
        ("A", "The action's code is not base64: "),
    ],
)
def test_an_unusable_zip_is_refused(
    runtime: RuntimeProcess, tmp_path: Path, code: str, error: str
) -> None:
    status, found = runtime.init(code, binary=True)
    assert status == 502
    assert found["error"].startswith(error)
    assert not list(tmp_path.rglob("evil.py"))
    assert runtime.init("def main(args): return {}")[0] == 200


def test_other_paths_methods_and_bodies_are_refused(runtime: RuntimeProcess) -> None:
    assert runtime.post("/other", b"")[0] == 404
    assert runtime.post("/run", b"", method="GET")[0] == 405
    assert runtime.post("/run", b"{")[0] == 400
    assert runtime.post("/run", b"[" * 100_000)[0] == 400


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /run HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /other HTTP/1.1\r\nContent-Length: 1\r\n\r\n", 413),
        (b"POST /run HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /run HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_a_bad_head_is_answered_without_reading_on(
    runtime: RuntimeProcess, head: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", runtime._port), timeout=TIMEOUT_S) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 %d " % status)


def test_a_client_that_goes_away_does_no_harm(runtime: RuntimeProcess) -> None:
    with socket.create_connection(("127.0.0.1", runtime._port), timeout=TIMEOUT_S) as connection:
        connection.sendall(b"POST /init HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
    assert runtime.run() == (500, {"error": "no action defined yet"})
