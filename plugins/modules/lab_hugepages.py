#!/usr/bin/python
"""Ansible module: a lab's share of the kernel's huge pages, and its mount of them."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_hugepages
short_description: Reserves huge pages for a lab and gives them back
description:
  - Adds to the kernel's pool what the lab still lacks, and records its share. Pages of others, free
    or used, are never counted as the lab's. When fewer can be had, what was taken is given back.
  - Mounts a hugetlbfs of the lab's own, no larger than its share, and maps one page of it.
  - V(absent) lowers the pool by what was added. Pages in use stay with who uses them; the kernel
    takes each back when it is freed.
options:
  state: {type: str, choices: [present, absent], default: present, description: What is wanted.}
  lab_name: {type: str, required: true, description: Lab that the pages belong to.}
  state_file: {type: path, required: true, description: State file that remembers the share.}
  count: {type: int, required: true, description: Pages that the lab needs.}
  size_kb: {type: int, required: true, description: "Size of a page [kB]."}
  mount: {type: path, required: true, description: Where they are mounted.}
  numa_node: {type: str, default: "", description: Node of the pages; empty lets the kernel spread.}
  max_share_percent:
    type: int
    default: 50
    description: How much of the available memory they may be.
  manager:
    type: str
    choices: [systemd, runit]
    required: true
    description: What starts the script that adds the pages at boot; V(absent) disables that.
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Reserve 512 pages of 2 MB
  lab_hugepages:
    lab_name: orrery
    state_file: /var/lib/orrery/state.json
    count: 512
    size_kb: 2048
    mount: /run/orrery/hugepages
    manager: systemd
"""

RETURN = r"""
pages:
  description: What the pool holds and how many of that the lab added.
  type: dict
  returned: always
at_boot:
  description: Whether the script that adds the pages runs at the next boot.
  type: bool
  returned: always
notes:
  description: What a user should know, as sentences.
  type: list
  elements: str
  returned: always
proof:
  description: C(mapped), or C(in use) where no page was free to map.
  type: str
  returned: state is present
"""

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_hugepages_boot as boot
from ansible.module_utils import lab_hugepages_mount as mounts
from ansible.module_utils import lab_hugepages_pool as pools
from ansible.module_utils import lab_state_file as state_file
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab_hugepages_lab import KEY, Host, Lab
from ansible.module_utils.lab_hugepages_pool import HugepagesError

ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "lab_name": {"type": "str", "required": True},
    "state_file": {"type": "path", "required": True},
    "count": {"type": "int", "required": True},
    "size_kb": {"type": "int", "required": True},
    "mount": {"type": "path", "required": True},
    "numa_node": {"type": "str", "default": ""},
    "max_share_percent": {"type": "int", "default": 50},
    "manager": {"type": "str", "choices": ["systemd", "runit"], "required": True},
}


def check(host: Host, args: dict[str, Any]) -> None:
    """Look at the inputs.

    Raises:
        HugepagesError: One of them cannot work on this host.
    """
    count, size_kb, node = args["count"], args["size_kb"], args["numa_node"]
    share = args["max_share_percent"]
    if count < 1:
        raise HugepagesError(f"hugepages_count is {count}; a whole number from 1 is needed.")
    if not 1 <= share <= 100:
        raise HugepagesError(f"hugepages_max_share_percent is {share}; 1 to 100 are needed.")
    if not host.pool(size_kb).exists():
        raise HugepagesError(
            f"hugepages: this kernel has no pages of {size_kb} kB, "
            f"it has {' and '.join(host.sizes()) or 'none'}. Set hugepages_size_kb."
        )
    if node and not (node.isdigit() and host.pool(size_kb, node).exists()):
        raise HugepagesError(
            f"hugepages: there is no NUMA node '{node}' here. Set hugepages_numa_node to a number "
            "that `lscpu` shows, or leave it empty."
        )


def raise_pool(lab: Lab, pool: pools.Pool, share: pools.Share, have: int) -> pools.Share:
    """Add what the lab lacks; all of it, or nothing.

    Raises:
        HugepagesError: It is too much for the host, or the kernel has not got it.
    """
    count, size_kb = lab.args["count"], lab.args["size_kb"]
    counts = pool.counts()
    available = pools.available_kb(lab.host.text("proc/meminfo"))
    pools.refuse_too_much(count, size_kb, have, available, lab.args["max_share_percent"])
    # The kernel first makes surplus pages, which are in use, part of the pool.
    found = counts.persistent - have - lab.others(size_kb, share.node)
    surplus = share.surplus + counts.surplus
    new = pools.Share(size_kb, share.node, count, surplus, found + counts.surplus)
    if lab.dry:
        return new
    wanted = counts.total + count - have
    # Written first: whatever interrupts us, a later run finds out how many came.
    prior = {"size_kb": size_kb, "pages": counts.persistent - have, **lab.found}
    lab.remember(record_of(lab, new), prior)
    after = pool.resize(wanted)
    if after.persistent < wanted:
        got = max(have, count - (wanted - after.persistent))
        pool.resize(counts.persistent)
        old = pools.Share(size_kb, share.node, have, share.surplus, found)
        lab.remember(record_of(lab, old) if have else None, lab.found)
        raise pools.too_few(got, count, size_kb)
    return new


def lower_pool(lab: Lab, pool: pools.Pool, pages: int) -> None:
    """Give pages back; those in use stay until they are freed."""
    before = pool.counts()
    if lab.dry or pages < 1:
        return
    after = pool.resize(max(0, before.persistent - pages))
    waiting = min(pages, after.surplus - before.surplus)
    if waiting > 0:
        lab.notes.append(
            f"hugepages: {waiting} of {pages} pages are still in use; the kernel takes each back "
            "when the program that has it ends."
        )


def record_of(lab: Lab, share: pools.Share) -> dict[str, Any]:
    """The fact `hugepages`."""
    return {
        **asdict(share),
        "count": lab.args["count"],
        "mount": lab.args["mount"],
        "boot_id": lab.host.boot_id(),
    }


def keep_pages(lab: Lab) -> bool:
    """Bring the lab's share to what is wanted; gives whether the pool changes."""
    size_kb, node, count = lab.args["size_kb"], lab.args["numa_node"], lab.args["count"]
    share = lab.host.share(lab.name, {"size_kb": size_kb, "node": node, **lab.record})
    # A boot without the script leaves nothing to give back, whatever was wanted before.
    if (share.size_kb, share.node) != (size_kb, node):
        release(lab)
        lab.record, share = {}, pools.Share(size_kb, node)
    pool = lab.host.pool(size_kb, node)
    counts, others = pool.counts(), lab.others(size_kb, node)
    have = share.left(counts.persistent, others)
    if have != count:
        where = f"pages of {size_kb} kB" + (f" of node {node}" if node else "")
        target = counts.persistent + count - have
        lab.note(where, f"{counts.persistent}, {have} ours", f"{target}, {count} ours")
    if have < count:
        share = raise_pool(lab, pool, share, have)
    else:
        lower_pool(lab, pool, have - count)
        found = counts.persistent - have - others
        share = pools.Share(size_kb, node, count, share.surplus, found)
    prior = {"size_kb": size_kb, "pages": counts.persistent - have, **lab.found}
    lab.remember(record_of(lab, share), prior)
    return have != count


def keep_mount(lab: Lab) -> bool:
    """Have the lab's own mount, of its share's size; gives whether it changes."""
    path, page_kb = lab.args["mount"], lab.args["size_kb"]
    size_kb = lab.args["count"] * page_kb
    found = lab.host.mounted(path)
    mounts.refuse_foreign(path, found, lab.source)
    if found is not None and (found.page_kb, found.size_kb) == (page_kb, size_kb):
        return False
    lab.note(f"mount {path}", f"{found.size_kb} kB" if found else "none", f"{size_kb} kB")
    if lab.dry:
        return True
    if found is not None:
        # The kernel cannot change the size of a mount.
        mounts.detach(lab.host.run, path)
    made = mounts.make_folders(Path(path))
    if made:
        # With what is known already, so that absent removes these, too.
        known = [*lab.found.get("made", []), *made]
        lab.remember(lab.state["facts"][KEY], {**lab.found, "made": list(dict.fromkeys(known))})
    mounts.attach(lab.host.run, path, lab.source, page_kb, size_kb)
    return True


def drop_mount(lab: Lab, path: str) -> bool:
    """Unmount what is ours; gives whether there was anything."""
    found = lab.host.mounted(path)
    if found is None or (found.kind, found.source) != ("hugetlbfs", lab.source):
        return False
    lab.note(f"mount {path}", f"{found.size_kb} kB", "none")
    if not lab.dry:
        mounts.detach(lab.host.run, path)
    return True


def release(lab: Lab) -> bool:
    """Give back mount, pages and record; gives whether there was anything."""
    wanted = {"size_kb": lab.args["size_kb"], "node": lab.args["numa_node"]}
    share = lab.host.share(lab.name, {**wanted, **lab.record})
    path = str(lab.record.get("mount", lab.args["mount"]))
    changed = bool(lab.record) or lab.host.marker(lab.name).exists()
    changed = drop_mount(lab, path) or changed
    pool = lab.host.pool(share.size_kb, share.node)
    if pool.exists():
        persistent = pool.counts().persistent
        ours = share.left(persistent, lab.others(share.size_kb, share.node))
        pages = ours + (share.surplus if ours else 0)
        if pages:
            lab.note(
                f"pages of {share.size_kb} kB", f"{persistent}, {ours} ours", persistent - pages
            )
        lower_pool(lab, pool, pages)
    if changed and not lab.dry:
        mounts.remove_folders(lab.found.get("made", []))
        lab.remember(None, {})
    return changed


def absent(lab: Lab) -> bool:
    """Take everything back; gives whether there was anything."""
    changed = release(lab)
    if boot.enabled(lab.source, lab.args["manager"], lab.host.root / "etc"):
        lab.note("at boot", "enabled", "disabled")
        changed = True
        if not lab.dry:
            boot.disable(lab.host.run, lab.source, lab.args["manager"])
    return changed


def present(lab: Lab) -> tuple[bool, str]:
    """Have pages, mount and script; gives whether anything changes, and the proof."""
    check(lab.host, lab.args)
    path = lab.args["mount"]
    mounts.refuse_foreign(path, lab.host.mounted(path), lab.source)
    old = str(lab.record.get("mount", path))
    moved = old != path and drop_mount(lab, old)
    changed = [moved, keep_pages(lab), keep_mount(lab)]
    if lab.dry:
        return any(changed), ""
    unclaimed = lab.host.pool(lab.args["size_kb"]).counts().unclaimed
    return any(changed), mounts.prove(Path(path), lab.args["size_kb"], unclaimed)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    wanted = module.params["state"] == "present"
    host = Host(module.run_command)
    try:
        with (
            pools.locked(host.pool_folder)
            if host.pool_folder.is_dir()
            else contextlib.nullcontext()
        ):
            lab = Lab(host, module.params, module.check_mode)
            changed, proof = present(lab) if wanted else (absent(lab), "")
            pool = host.pool(module.params["size_kb"], module.params["numa_node"])
            counts = asdict(pool.counts())
            at_boot = boot.enabled(lab.source, lab.args["manager"])
    except HugepagesError as error:
        module.fail_json(msg=str(error))
    except (state_file.StateFileError, OSError) as error:
        module.fail_json(msg=f"hugepages: {error}")
    added = int((lab.state["facts"].get(KEY) or {}).get("added", 0))
    module.exit_json(
        changed=changed,
        pages={**counts, "added": added},
        at_boot=at_boot,
        proof=proof,
        notes=lab.notes,
        diff={"before": "".join(lab.before), "after": "".join(lab.after)},
    )


if __name__ == "__main__":
    main()
