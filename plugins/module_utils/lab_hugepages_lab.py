"""A host's huge pages, and one lab's entry in its state file about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_hugepages_mount as mounts
from ansible.module_utils import lab_hugepages_pool as pools
from ansible.module_utils import lab_state_file as state_file

# Name of the entry, under `facts` and under `before`.
KEY = "hugepages"
# How the name of a lab's marker, unit and mount ends.
MARK = "-hugepages"


class Host:
    """Where the kernel and the lab say what there is."""

    def __init__(self, run: mounts.Runner, root: Path = Path("/")) -> None:
        self.run = run
        self.root = root

    @property
    def pool_folder(self) -> Path:
        """The folder of the host's pools, one for each size."""
        return self.root / "sys/kernel/mm/hugepages"

    def pool(self, size_kb: int, node: str = "") -> pools.Pool:
        """A pool of the host, or of one node."""
        nodes = self.root / "sys/devices/system/node"
        above = nodes / f"node{node}" / "hugepages" if node else self.pool_folder
        return pools.Pool(above / f"hugepages-{size_kb}kB")

    def sizes(self) -> list[str]:
        """Sizes of pages that this kernel knows [kB]."""
        return sorted(
            path.name[len("hugepages-") : -2] for path in self.pool_folder.glob("hugepages-*")
        )

    def text(self, path: str) -> str:
        """A file of the kernel."""
        return (self.root / path).read_text(encoding="utf-8")

    def boot_id(self) -> str:
        """The kernel's id of this boot."""
        return self.text("proc/sys/kernel/random/boot_id").strip()

    def marker(self, lab_name: str) -> Path:
        """What says how many pages the lab added since this boot."""
        return self.root / "run" / f"{lab_name}{MARK}"

    def shares(self) -> dict[str, pools.Share]:
        """What each lab added since this boot, as far as its marker is there."""
        found = {}
        for path in (self.root / "run").glob(f"*{MARK}"):
            marker = pools.read_marker(path)
            if marker is not None and marker.boot_id == self.boot_id():
                found[path.name.removesuffix(MARK)] = marker.share()
        return found

    def share(self, lab_name: str, record: dict[str, Any]) -> pools.Share:
        """What a lab added since this boot."""
        marker = pools.read_marker(self.marker(lab_name))
        return pools.share_of(record, marker, self.boot_id())

    def mounted(self, path: str) -> mounts.Mount | None:
        """What is mounted at a path."""
        return mounts.mounted_at(path, self.text("proc/self/mountinfo"))


@dataclass
class Lab:
    """One lab's entry in its state file, and what this run does to it.

    Attributes:
        before: Lines of Ansible's diff, as it was found.
        after: The same, as it is then.
        notes: What a user should know.
    """

    host: Host
    args: dict[str, Any]
    dry: bool
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name: str = self.args["lab_name"]
        self.source = f"{self.name}{MARK}"
        self.path = Path(self.args["state_file"])
        self.state = state_file.read(self.path, self.name)
        self.record: dict[str, Any] = dict(self.state["facts"].get(KEY) or {})

    @property
    def found(self) -> dict[str, Any]:
        """What was there before the lab: size of the pool, folders that were made."""
        return dict(self.state["before"].get(KEY) or {})

    def others(self, size_kb: int, node: str) -> int:
        """Pages of that pool that other labs added, wherever their state files are."""
        shares = self.host.shares()
        for other in state_file.other_labs(self.path, self.name).values():
            name, record = other["lab_name"], other["facts"].get(KEY) or {}
            shares.setdefault(name, self.host.share(name, record))
        shares.pop(self.name, None)
        return sum(share.added for share in shares.values() if pools.in_pool(share, size_kb, node))

    def remember(self, record: dict[str, Any] | None, found: dict[str, Any]) -> None:
        """Write the share into the state file and the marker; None removes both."""
        if self.dry:
            return
        marker = self.host.marker(self.name)
        sections = (("facts", record), ("before", found if record is not None else None))
        with state_file.locked(self.path):
            state = state_file.read(self.path, self.name)
            for section, value in sections:
                state[section].pop(KEY, None)
                if value is not None:
                    state[section][KEY] = value
            if state != self.state:
                state_file.write(self.path, state)
            self.state = state
        if record is None:
            marker.unlink(missing_ok=True)
            return
        text = pools.Marker(
            record["boot_id"], record["added"], record["size_kb"], record["node"]
        ).text()
        if not marker.exists() or marker.read_text(encoding="ascii") != text:
            marker.write_text(text, encoding="ascii")

    def note(self, what: str, before: Any, after: Any) -> None:
        """Remember a change for the diff."""
        self.before.append(f"{what}: {before}\n")
        self.after.append(f"{what}: {after}\n")
