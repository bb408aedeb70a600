"""What role `vm` runs: `plan`, `prepare`, `ready`, `fact`; `domain`, `off`, `undefine` of libvirt.

Each takes `--state-file`, reads a JSON object from standard input (`wish`, and `image` for
`prepare`), and prints one: `changed`, and what came out. Where the host lacks a program the object
holds `needs`, the packages that have it, and the exit code is 3.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orrery import program
from orrery.errors import ConfigurationError, OrreryError
from orrery.guest.image.needs import MissingProgramError
from orrery.vm import connect
from orrery.vm import plan as planning
from orrery.vm import prepare as preparing
from orrery.vm import ready as readiness
from orrery.vm.image.image import Image
from orrery.vm.running import running
from orrery.vm.spec import VmSpec, description
from orrery.vm.wish import Wish

Given = Mapping[str, Any]


def plan(_: argparse.Namespace, given: Given) -> dict[str, Any]:
    """Refuse what cannot be, and say what is there already."""
    found = planning.plan(Wish.from_mapping(given["wish"]))
    image = found.existing.image if found.existing is not None else None
    there = image is not None and image.disk.exists()
    return {
        "changed": False,
        "driver": str(found.driver),
        "driver_why": found.why,
        "image": image.as_mapping() if image is not None and there else {},
        "runs": found.runs,
    }


def prepare(options: argparse.Namespace, given: Given) -> dict[str, Any]:
    """Have keys, disk, seed and description."""
    wish = Wish.from_mapping(given["wish"])
    found = planning.plan(wish)
    image = Image.from_mapping(given["image"])
    done = preparing.prepare(program.state(options), wish, found, image, check=options.check)
    return {
        "changed": bool(done.made),
        "made": list(done.made),
        "accel": str(done.spec.accel),
        "accel_why": done.accel_why,
    }


def ready(_: argparse.Namespace, given: Given) -> dict[str, Any]:
    """Wait until the VM can be worked in; the fact of it."""
    spec = _existing(given)
    done = readiness.wait(spec, float(given.get("timeout_s") or 0))
    times = {"boot_s": done.boot_s, "cloud_init_s": done.cloud_init_s}
    return {"changed": False, "fact": connect.fact(spec, running=True, **times)}


def fact(_: argparse.Namespace, given: Given) -> dict[str, Any]:
    """The fact of a VM as it is, without waiting for it."""
    spec = _existing(given)
    runs = running(spec.run_dir, spec.lab_name) is not None
    return {"changed": False, "fact": connect.fact(spec, running=runs)}


def domain(options: argparse.Namespace, given: Given) -> dict[str, Any]:
    """Have libvirt's domain defined and running."""
    from orrery.vm import libvirt

    return libvirt.ensure(_existing(given), Path(str(given["templates"])), check=options.check)


def off(_: argparse.Namespace, given: Given) -> dict[str, Any]:
    """Shut libvirt's domain down."""
    from orrery.vm.libvirt import Libvirt

    spec = _existing(given)
    with Libvirt(spec.uri) as there:
        return {"changed": there.stop(spec)}


def undefine(_: argparse.Namespace, given: Given) -> dict[str, Any]:
    """Remove libvirt's domain."""
    from orrery.vm.libvirt import Libvirt

    spec = _existing(given)
    with Libvirt(spec.uri) as there:
        return {"changed": there.remove(spec)}


def _existing(given: Given) -> VmSpec:
    wish = Wish.from_mapping(given["wish"])
    spec = VmSpec.read(description(wish.folder))
    if spec is None:
        raise ConfigurationError(
            f"there is no VM in {wish.folder} to start or stop; vm_state present makes one."
        )
    return spec


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Given], dict[str, Any]]] = {
    "plan": plan,
    "prepare": prepare,
    "ready": ready,
    "fact": fact,
    "domain": domain,
    "off": off,
    "undefine": undefine,
}


def main() -> int:
    """Entry point."""
    parser = program.parser("orrery.vm")
    parser.description = __doc__
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("--check", action="store_true", help="only say what would be made")
    options = parser.parse_args()
    try:
        answer = COMMANDS[options.command](options, json.load(sys.stdin))
    except MissingProgramError as error:
        print(json.dumps({"changed": False, "needs": list(error.packages)}))
        print(error, file=sys.stderr)
        return error.exit_code
    except OrreryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
