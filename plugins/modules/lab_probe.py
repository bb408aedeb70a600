#!/usr/bin/python
"""Ansible module: one look at a host, before the lab changes anything."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_probe
short_description: Looks at the host and says what it found
description:
  - Operating system, processor, memory, disks, ports, Docker, clock, rights, service manager, and
    what can be reached. Changes nothing. All looks run at once and are bounded by O(timeout_s).
  - Judges nothing; the role C(preflight) does.
options:
  disk_paths:
    description: Paths whose file system is looked at; they need not exist yet.
    type: list
    elements: path
    default: []
  listen:
    description: Addresses with port, C(127.0.0.1:3233), that the lab wants to listen on.
    type: list
    elements: str
    default: []
  docker_socket:
    description: Socket of the Docker engine; empty to leave it out.
    type: str
    default: ""
  programs:
    description: Programs to look for, by name or absolute path.
    type: list
    elements: str
    default: []
  python:
    description: Interpreter whose version is asked; empty to leave it out.
    type: str
    default: ""
  package_mirror:
    description: Whether the host's own package sources are tried, with apt's own configuration.
    type: bool
    default: false
  index_package:
    description: Small Python package to fetch with pip's own configuration; empty to leave it out.
    type: str
    default: ""
  registry_url:
    description: The C(/v2/) address of a container registry; empty to leave it out.
    type: str
    default: ""
  ca_bundle:
    description: PEM file of a private certificate authority.
    type: str
    default: ""
  http_proxy:
    description: Proxy for index and registry; empty takes the environment's.
    type: str
    default: ""
  timeout_s:
    description: Bound of every look [s].
    type: float
    default: 5.0
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
author: Orrery
"""

EXAMPLES = r"""
- name: Look at the host
  lab_probe:
    listen: ["127.0.0.1:3233"]
    disk_paths: [/var/lib]
  register: look
"""

RETURN = r"""
found:
  description:
    - os, cpu, memory, disks, ports, programs, python, docker, clock, rights, service_manager,
      package_mirror, package_index, registry; the last three have C(reachable) true, false, or
      null when it could not be tried.
  type: dict
  returned: always
seconds:
  description: What the look took [s].
  type: float
  returned: always
"""

import email.utils
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_docker_api, lab_processes
from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, Any] = {
    "disk_paths": {"type": "list", "elements": "path", "default": []},
    "listen": {"type": "list", "elements": "str", "default": []},
    "docker_socket": {"type": "str", "default": ""},
    "programs": {"type": "list", "elements": "str", "default": []},
    "python": {"type": "str", "default": ""},
    "package_mirror": {"type": "bool", "default": False},
    "index_package": {"type": "str", "default": ""},
    "registry_url": {"type": "str", "default": ""},
    "ca_bundle": {"type": "str", "default": ""},
    "http_proxy": {"type": "str", "default": ""},
    "timeout_s": {"type": "float", "default": 5.0},
}

Found = dict[str, Any]
RELEASE_URI = re.compile(r"'(\S+/)dists/(\S+)/InRelease'")
APT_HELPER = "/usr/lib/apt/apt-helper"
# Each is younger than the day the host was made; a clock before them is wrong.
YOUNG_FILES = ("/var/lib/dpkg/status", "/etc/os-release", "/etc/passwd")
# A registry that wants a login is a registry that answers.
REGISTRY_ANSWERS = (200, 401)


def parse_os_release(text: str) -> dict[str, str]:
    """Keys and values of /etc/os-release."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def operating_system() -> Found:
    """Distribution, release and architecture."""
    release = parse_os_release(Path("/etc/os-release").read_text(encoding="utf-8"))
    return {
        "id": release.get("ID", ""),
        "version": release.get("VERSION_ID", ""),
        "name": release.get("PRETTY_NAME", release.get("ID", "unknown")),
        "codename": release.get("VERSION_CODENAME", ""),
        "arch": platform.machine(),
        "kernel": platform.release(),
    }


def parse_cpu(text: str) -> Found:
    """Model and flags in the text of /proc/cpuinfo."""
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return {
        "flags": flags.group(1).split() if flags else [],
        "model": model.group(1) if model else "",
    }


def cpu() -> Found:
    """Processors this process may use, model and flags."""
    count = len(os.sched_getaffinity(0))
    return {"count": count, **parse_cpu(Path("/proc/cpuinfo").read_text(encoding="utf-8"))}


def memory() -> Found:
    """Memory in all and available [MB of 2**20 bytes]."""
    text = Path("/proc/meminfo").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE))
    total = int(rows["MemTotal"])
    available = int(rows.get("MemAvailable", total))
    return {"total_mb": total // 1024, "available_mb": available // 1024}


def disks(paths: list[str]) -> Found:
    """Space that root may use on the file system of each path [MB of 2**20 bytes]."""
    found = {}
    for path in paths:
        existing = Path(path)
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        info = os.statvfs(existing)
        free_mb = info.f_bavail * info.f_frsize // 2**20
        found[path] = {"free_mb": free_mb, "looked_at": str(existing)}
    return found


def ports(wanted: list[str]) -> Found:
    """For each address and port: whether it is free, and if not who has it."""
    listening = lab_processes.listeners()
    split = {text: text.rpartition(":") for text in wanted}
    taken = {
        text: next(
            (one for one in listening if lab_processes.collides(one, address, int(port))), None
        )
        for text, (address, _, port) in split.items()
    }
    holders = lab_processes.holders({one.inode for one in taken.values() if one})
    found = {}
    for text, listener in taken.items():
        entry: Found = {"free": listener is None, "pid": 0, "command": "", "lab": "", "service": ""}
        held_by = holders.get(listener.inode, []) if listener else []
        if held_by:
            owner = lab_processes.owner(held_by[0])
            command = lab_processes.command(held_by[0])[:120]
            entry.update(pid=held_by[0], command=command, lab=owner.lab, service=owner.service)
        found[text] = entry
    return found


def clock() -> Found:
    """The time, and the time before which it cannot be."""
    times = [Path(name).stat().st_mtime for name in YOUNG_FILES if Path(name).exists()]
    return {"now_s": time.time(), "not_before_s": max(times, default=0.0)}


def rights(timeout_s: float) -> Found:
    """Whether this is root, or can become root without a password."""
    if os.geteuid() == 0:
        return {"root": True, "sudo": True, "user": "root"}
    sudo = shutil.which("sudo")
    asked = sudo and run([sudo, "-n", "true"], timeout_s)[0] == 0
    return {"root": False, "sudo": bool(asked), "user": os.environ.get("USER", str(os.geteuid()))}


def service_manager() -> Found:
    """Which one runs services: systemd where it is process 1, runit elsewhere."""
    first = Path("/proc/1/comm").read_text(encoding="utf-8").strip()
    name = "systemd" if Path("/run/systemd/system").is_dir() else "runit"
    return {"name": name, "process_1": first, "init_scripts": Path("/etc/init.d").is_dir()}


def programs(names: list[str]) -> Found:
    """Where each program is; empty when there is none. Daemons live outside a user's PATH."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    return {name: shutil.which(name, path=path) or "" for name in names}


def python_version(interpreter: str, timeout_s: float) -> Found:
    """Version of an interpreter; empty when there is none."""
    question = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    code, out, err = run([interpreter, "-I", "-S", "-c", question], timeout_s)
    return {"version": out.strip() if code == 0 else "", "detail": last_line(err)}


def run(argv: list[str], timeout_s: float) -> tuple[int, str, str]:
    """Run a program within a bound; 124 when it takes longer, 127 when there is none."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer within {timeout_s:g} s"
    except OSError as error:
        return 127, "", str(error)
    return done.returncode, done.stdout, done.stderr


def last_line(*texts: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def parse_uris(text: str) -> list[list[str]]:
    """Mirror and release of each source in what `apt-get update --print-uris` prints."""
    return [[found[1], found[2]] for found in map(RELEASE_URI.match, text.splitlines()) if found]


def package_mirror(timeout_s: float) -> Found:
    """Fetch one small signature of the first package source, the way apt itself would."""
    where = "$(REPO_URI) $(RELEASE)"
    code, out, err = run(
        ["apt-get", "indextargets", "--format", where, "Created-By: Packages"], timeout_s
    )
    rows = [line.split() for line in out.splitlines() if line.strip()]
    if code == 0 and not rows:
        # A machine that never ran apt-get update has sources all the same.
        rows = parse_uris(run(["apt-get", "update", "--print-uris"], timeout_s)[1])
    if code != 0 or not rows or not Path(APT_HELPER).exists():
        reason = last_line(err) or "apt has no package source"
        return {"reachable": None if rows else False, "where": "", "detail": reason}
    # The plain release comes before -updates and -security; third parties' sources come last.
    codename = operating_system()["codename"]
    uri, release = min(rows, key=lambda row: (row[-1] != codename, codename not in row[-1]))[:2]
    with tempfile.TemporaryDirectory(prefix="lab-probe-") as folder:
        options = ["APT::Sandbox::User=root", "Acquire::Retries=0"]
        options += [f"Acquire::{kind}::Timeout={int(timeout_s)}" for kind in ("http", "https")]
        argv = [APT_HELPER, *(word for option in options for word in ("-o", option))]
        target = f"{uri}dists/{release}/Release.gpg"
        code, out, err = run([*argv, "download-file", target, f"{folder}/signature"], timeout_s)
    return {
        "reachable": code == 0,
        "where": uri,
        "detail": "" if code == 0 else last_line(err, out),
    }


def has_pip(python: str, timeout_s: float) -> bool:
    """Whether an interpreter has pip, without importing it."""
    question = "import importlib.util, sys; sys.exit(importlib.util.find_spec('pip') is None)"
    return run([python, "-I", "-c", question], timeout_s)[0] == 0


def package_index(package: str, params: Found, timeout_s: float) -> Found:
    """Download one small package, the way pip itself would."""
    found = (name for name in (sys.executable, "/usr/bin/python3") if has_pip(name, timeout_s))
    python = next(found, "")
    if not python:
        return {"reachable": None, "where": "", "detail": "there is no pip to ask with"}
    with tempfile.TemporaryDirectory(prefix="lab-probe-") as folder:
        argv = [python, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--retries", "0"]
        argv += ["--only-binary", ":all:", "--timeout", str(max(1, int(timeout_s) - 1))]
        argv += ["--disable-pip-version-check", "--dest", folder]
        argv += ["--cert", params["ca_bundle"]] if params["ca_bundle"] else []
        argv += ["--proxy", params["http_proxy"]] if params["http_proxy"] else []
        code, out, err = run([*argv, package], timeout_s)
    where = re.search(r"Looking in indexes: (\S+?),?(?:\s|$)", out)
    return {
        "reachable": code == 0,
        "where": where.group(1) if where else "",
        "detail": "" if code == 0 else last_line(out, err),
    }


def registry(url: str, params: Found, timeout_s: float) -> Found:
    """Ask a container registry whether it speaks the registry protocol."""
    found: Found = {"reachable": False, "where": url, "detail": "", "skew_s": None}
    handlers: list[urllib.request.BaseHandler] = []
    try:
        context = ssl.create_default_context()
        if params["ca_bundle"]:
            context.load_verify_locations(params["ca_bundle"])
        handlers.append(urllib.request.HTTPSHandler(context=context))
        if params["http_proxy"]:
            proxy = str(params["http_proxy"])
            handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the URL is the user's
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(request, timeout=timeout_s) as answer:
                status, date = answer.status, answer.headers.get("Date")
        except urllib.error.HTTPError as error:
            status, date = error.code, error.headers.get("Date")
            error.close()
    except urllib.error.URLError as error:
        return {**found, "detail": str(error.reason)}
    except (OSError, ValueError) as error:
        return {**found, "detail": str(error)}
    if date:
        theirs = email.utils.parsedate_to_datetime(date).timestamp()
        found["skew_s"] = round(time.time() - theirs, 1)
    answers = status in REGISTRY_ANSWERS
    return {**found, "reachable": answers, "detail": "" if answers else f"answered {status}"}


def looks(params: Found) -> dict[str, Callable[[], Found]]:
    """Every look that was asked for, by the name of its result."""
    timeout_s = params["timeout_s"]
    wanted: dict[str, Callable[[], Found]] = {
        "os": operating_system,
        "cpu": cpu,
        "memory": memory,
        "disks": partial(disks, params["disk_paths"]),
        "ports": partial(ports, params["listen"]),
        "clock": clock,
        "rights": partial(rights, timeout_s),
        "service_manager": service_manager,
        "programs": partial(programs, params["programs"]),
    }
    if params["python"]:
        wanted["python"] = partial(python_version, params["python"], timeout_s)
    if params["docker_socket"]:
        wanted["docker"] = partial(lab_docker_api.look, params["docker_socket"], timeout_s)
    if params["package_mirror"]:
        wanted["package_mirror"] = partial(package_mirror, timeout_s)
    if params["index_package"]:
        wanted["package_index"] = partial(package_index, params["index_package"], params, timeout_s)
    if params["registry_url"]:
        wanted["registry"] = partial(registry, params["registry_url"], params, timeout_s)
    return wanted


def look(wanted: dict[str, Callable[[], Found]], bound_s: float) -> dict[str, Found]:
    """Run all looks at once; one that does not come back says so."""
    nothing = {"reachable": False, "usable": False, "version": ""}
    late = {**nothing, "detail": f"no answer within {bound_s:g} s"}
    found: dict[str, Found] = dict.fromkeys(wanted, late)

    def one(name: str, function: Callable[[], Found]) -> None:
        try:
            found[name] = function()
        except (OSError, ValueError, KeyError) as error:
            found[name] = {**nothing, "detail": f"cannot be looked at: {error!r}"}

    # Daemon threads: a resolver that hangs must not keep the module from ending.
    threads = [
        threading.Thread(target=one, args=pair, daemon=True, name=pair[0])
        for pair in wanted.items()
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + bound_s
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(found)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    bad = [text for text in module.params["listen"] if not re.match(r"^[0-9a-fA-F.:]+:\d+$", text)]
    if bad:
        module.fail_json(msg=f"lab_probe: {bad[0]!r}: an address with port is needed.")
    start = time.monotonic()
    found = look(looks(module.params), module.params["timeout_s"] + 1)
    module.exit_json(changed=False, found=found, seconds=round(time.monotonic() - start, 2))


if __name__ == "__main__":
    main()
