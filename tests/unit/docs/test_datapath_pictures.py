"""The pictures of docs/networking.md are what their source makes, and say what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from orrery.guest import machine, registry, show, wiring
from orrery.guest.machine import Accel, Machine, Nic
from orrery.network.backends import PATHS, Backend
from orrery.state import LabState
from tests.contracts import tree
from tests.unit.docs import pictures

DATAPATH = pictures.script("datapath")
PAGE = (tree.ROOT / "docs" / "networking.md").read_text(encoding="utf-8")
VARIABLE = re.compile(r"`((?:ovs|hugepages|dpdk|qemu|guest_image|guest_network|guests|lab)_\w+)\b")
IN_BRIDGES = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)

all_pictures = pytest.mark.parametrize("name", DATAPATH.PICTURES)


def defaults(role: str) -> dict[str, Any]:
    return dict(tree.load_yaml(tree.ROOT / "roles" / role / "defaults" / "main.yml"))


def lab_variables() -> dict[str, Any]:
    return dict(tree.load_yaml(tree.ROOT / "playbooks" / "group_vars" / "all" / "lab.yml"))


def gateway(variable: str) -> str:
    """The address with prefix length that the lab gives to a bridge."""
    network, _, length = str(lab_variables()[variable]).partition("/")
    return f"{network.rpartition('.')[0]}.1/{length}"


@pytest.fixture
def state() -> LabState:
    """A lab with the names that the roles' defaults give."""
    lab = lab_variables()
    switch, vhost = "/run/orrery/ovs", "/run/orrery/vhost"
    facts = {
        "network": {
            "namespace": lab["lab_name"],
            "lan_bridge": defaults("guest_network")["guest_network_bridge"],
            "lan_address": gateway("lab_lan_subnet"),
        },
        "ovs": {
            "database": f"unix:{switch}/db.sock",
            "control": f"{switch}/vswitchd.ctl",
            "log": "/var/log/orrery/vswitchd/current",
            "vhost_dir": vhost,
            "bridge": defaults("ovs")["ovs_bridges"][0]["name"],
            "address": gateway("lab_datapath_subnet"),
        },
    }
    return LabState(str(lab["lab_name"]), facts=facts)


def text_of(name: str) -> str:
    return "\n".join(pictures.words(DATAPATH.PICTURES[name]().svg()))


@all_pictures
def test_the_committed_picture_is_what_the_source_makes(name: str) -> None:
    committed = (pictures.FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    drawn = DATAPATH.PICTURES[name]().svg()
    assert committed == drawn, "run: .venv/bin/python docs/img/datapath.py"


def test_no_picture_is_left_from_an_earlier_source() -> None:
    committed = {path.stem for path in pictures.FOLDER.glob("datapath-*.svg")}
    assert committed == set(DATAPATH.PICTURES)


@all_pictures
def test_the_picture_is_described_and_on_the_page(name: str) -> None:
    picture = DATAPATH.PICTURES[name]()
    root = ElementTree.fromstring(picture.svg())
    described = root.find(f"{pictures.SVG}desc")
    assert described is not None
    assert described.text == picture.description
    assert re.search(rf"!\[[^\]]{{20,}}\]\(img/{name}\.svg\)", PAGE), "on the page, with a text"


@all_pictures
def test_texts_fit_their_boxes_and_lie_beside_each_other(name: str) -> None:
    picture = DATAPATH.PICTURES[name]()
    assert pictures.too_wide(picture) == []
    assert pictures.overlapping(picture.svg()) == []


@all_pictures
def test_nothing_leaves_the_picture(name: str) -> None:
    picture = DATAPATH.PICTURES[name]()
    for box in ElementTree.fromstring(picture.svg()).iter(f"{pictures.SVG}rect"):
        place = {key: int(box.attrib.get(key, 0)) for key in ("x", "y", "width", "height")}
        assert place["x"] + place["width"] <= picture.width
        assert place["y"] + place["height"] <= picture.height


def test_bridges_and_the_namespace_have_their_names(state: LabState) -> None:
    text = text_of("datapath-overview")
    for part in ("network", "ovs"):
        for key in ("namespace", "lan_bridge", "lan_address", "bridge", "address"):
            assert state.facts[part].get(key, "") in text


@pytest.mark.parametrize(
    ("name", "guest", "backend"),
    [
        ("datapath-vhost-user", "a", Backend.VHOST_USER),
        ("datapath-tap-bridge", "c", Backend.VIRTIO_NET),
        ("datapath-tap-ovs", "b", Backend.VIRTIO_NET_OVS),
        ("datapath-vhost-net", "d", Backend.VHOST_NET),
    ],
)
def test_a_path_has_the_ports_and_addresses_that_a_guest_gets(
    name: str, guest: str, backend: Backend, state: LabState
) -> None:
    place = wiring.place(state, backend, guest, registry.FIRST_INDEX)
    text, overview = text_of(name), text_of("datapath-overview")
    assert place["port"] in text
    assert place["address"] in text
    assert backend.value in overview
    route = PATHS[backend]
    assert (
        state.facts["ovs" if route.on_switch else "network"][
            "bridge" if route.on_switch else "lan_bridge"
        ]
        in text
    )
    if route.tap:
        assert f"vnet_hdr {'on' if route.vnet_hdr else 'off'}" in text
    else:
        assert Path(place["socket"]).name in text


def test_the_ways_for_people_and_tools_have_their_names(tmp_path: Path) -> None:
    text = text_of("datapath-people")
    guest = Machine("a", tmp_path, tmp_path, tmp_path, tmp_path, Accel.TCG)
    for path in (guest.agent, guest.monitor, guest.console, guest.console_log):
        assert path.name in text
    assert machine.AGENT_PORT in text
    init = (tree.ROOT / "roles" / "guest_image" / "files" / "init").read_text(encoding="utf-8")
    for name in ("user0", "ttyS0", "qemu-ga", "dropbear", "10.0.2.15", "10.0.2.2", "10.0.2.3"):
        assert name in text
        assert name in init


def test_multiqueue_counts_vectors_and_names_columns_as_the_code_does() -> None:
    text = text_of("datapath-multiqueue")
    assert f"so {Nic(Backend.VHOST_USER, '', queues=2).vectors} vectors" in text
    assert f"{machine.VECTORS_BESIDE_QUEUES} vectors;" in text
    source = Path(str(show.__file__)).read_text(encoding="utf-8")
    for column in ("interrupts", "on", "sent", "received", "seen by switch", "polled by"):
        assert f'"{column}"' in source
        assert re.search(rf"\b{column}\b", text)


def test_every_variable_of_the_page_exists() -> None:
    known = set(lab_variables())
    for role in tree.roles():
        known |= (
            set(defaults(role)) if (tree.ROOT / "roles" / role / "defaults").is_dir() else set()
        )
    assert sorted(set(VARIABLE.findall(PAGE)) - known) == []


def test_every_backend_is_explained() -> None:
    for backend in Backend:
        assert f"`{backend}`" in PAGE


def test_bridges_of_the_page_are_what_the_role_takes() -> None:
    import ansible.module_utils

    folder = str(tree.ROOT / "plugins" / "module_utils")
    if folder not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(folder)
    from ansible.module_utils import ovs_bridges

    found = [yaml.safe_load(text) for text in IN_BRIDGES.findall(PAGE)]
    described = [data["ovs_bridges"] for data in found if "ovs_bridges" in data]
    assert described
    address = {"address": gateway("lab_datapath_subnet")}
    for bridges in described:
        plain = [{**one, **(address if "{{" in one.get("address", "") else {})} for one in bridges]
        assert ovs_bridges.parse(plain, "orrery", "/run/orrery/vhost")
