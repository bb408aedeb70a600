from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pycdlib
import pytest
import yaml

from orrery import shell
from orrery.errors import ConfigurationError
from orrery.vm import seed
from tests.contracts import tree

TEMPLATES = tree.ROOT / "templates" / "cloud-init"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc+/=\n-----END OPENSSH PRIVATE KEY-----\n"
SEED = seed.Seed(
    hostname="lab-vm",
    instance_id="lab-vm-1",
    user="orrery",
    authorized_key="ssh-ed25519 AAAA user\n",
    host_key=KEY,
    host_key_pub="ssh-ed25519 BBBB host\n",
    nics=(seed.SeedNic("52:54:00:AA:00:01"), seed.SeedNic("52:54:00:aa:00:02", optional=True)),
)
CERTIFICATE = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


def user_data(made: seed.Seed) -> dict[str, Any]:
    text = seed.render(made, TEMPLATES)["user-data"]
    assert text.startswith("#cloud-config\n")
    data = yaml.safe_load(text)
    assert isinstance(data, dict)
    return data


def test_the_machine_shows_the_key_that_is_known_here_and_no_other() -> None:
    data = user_data(SEED)
    assert data["ssh_deletekeys"] is True
    assert data["ssh_keys"] == {
        "ed25519_private": KEY,
        "ed25519_public": "ssh-ed25519 BBBB host",
    }


def test_nobody_comes_in_with_a_password() -> None:
    data = user_data(SEED)
    (user,) = data["users"]
    assert data["ssh_pwauth"] is False
    assert user["lock_passwd"] is True
    assert user["ssh_authorized_keys"] == ["ssh-ed25519 AAAA user"]
    assert user["sudo"] == "ALL=(ALL) NOPASSWD:ALL"


def test_what_is_not_asked_for_is_left_to_the_image() -> None:
    unset = {"ca_certs", "apt", "bootcmd", "write_files", "packages", "package_update", "runcmd"}
    assert not unset & set(user_data(SEED))


def test_every_interface_is_found_by_its_address_and_the_start_waits_for_the_needed_only() -> None:
    network = yaml.safe_load(seed.render(SEED, TEMPLATES)["network-config"])
    first, second = network["ethernets"].values()
    assert network["version"] == 2
    assert first["match"] == {"macaddress": "52:54:00:aa:00:01"}
    assert first["dhcp4"] is True
    assert "optional" not in first
    assert second["optional"] is True


def test_an_interface_with_an_address_asks_nobody() -> None:
    nic = seed.SeedNic("52:54:00:aa:00:01", address="10.9.0.11/24")
    network = yaml.safe_load(seed.render(replace(SEED, nics=(nic,)), TEMPLATES)["network-config"])
    (first,) = network["ethernets"].values()
    assert (first["dhcp4"], first["addresses"]) == (False, ["10.9.0.11/24"])


def test_without_interfaces_the_image_decides() -> None:
    assert set(seed.render(replace(SEED, nics=()), TEMPLATES)) == {"user-data", "meta-data"}


def test_a_mirror_replaces_all_other_sources_of_apt() -> None:
    data = user_data(replace(SEED, apt_mirror="http://near/debian"))
    assert data["apt"]["sources_list"] == "deb http://near/debian $RELEASE main\n"
    assert data["apt"]["preserve_sources_list"] is False
    assert "/etc/apt/sources.list.d/debian.sources" in data["bootcmd"][0]
    whole = user_data(replace(SEED, apt_mirror="deb http://near x main"))
    assert whole["apt"]["sources_list"] == "deb http://near x main\n"


def test_a_mirror_of_debian_says_nothing_to_centos() -> None:
    assert "apt" not in user_data(replace(SEED, system="centos", apt_mirror="http://near/debian"))


def test_each_package_manager_hears_of_the_proxy_in_its_own_file() -> None:
    (apt,) = user_data(replace(SEED, proxy="http://p:3128"))["write_files"]
    assert apt["path"] == "/etc/apt/apt.conf.d/90orrery"
    assert 'Acquire::https::Proxy "http://p:3128";' in apt["content"]
    (dnf,) = user_data(replace(SEED, system="fedora", proxy="http://p:3128"))["write_files"]
    assert (dnf["path"], dnf["content"]) == ("/etc/dnf/dnf.conf", "proxy=http://p:3128\n")
    assert dnf["append"] is True


def test_certificates_of_a_bundle_come_in_one_by_one(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text(f"# ours\n{CERTIFICATE.format('one')}\n{CERTIFICATE.format('two')}")
    data = user_data(replace(SEED, ca_bundle=bundle))
    assert data["ca_certs"]["trusted"] == [CERTIFICATE.format("one"), CERTIFICATE.format("two")]


def test_a_bundle_without_certificates_names_its_variable(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("nothing")
    with pytest.raises(ConfigurationError, match="holds no certificate .PEM.. Set lab_ca_bundle"):
        user_data(replace(SEED, ca_bundle=bundle))


@pytest.mark.parametrize("name", ["Lab", "lab_vm", "", "lab: x", "-lab", "lab\nusers: []"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cloud-init: the hostname"):
        seed.render(replace(SEED, hostname=name), TEMPLATES)


def test_text_of_users_cannot_become_configuration() -> None:
    sly = replace(SEED, authorized_key='ssh-ed25519 A x"]\nruncmd: [reboot]')
    data = user_data(sly)
    assert "runcmd" not in data
    assert data["users"][0]["ssh_authorized_keys"] == [sly.authorized_key]


def burned(iso: Path) -> dict[str, str]:
    """Texts of an image by name, and the volume's name."""
    image = pycdlib.PyCdlib()
    image.open(str(iso))
    try:
        found = {"": image.pvd.volume_identifier.decode("ascii").strip()}
        for name in seed.TEXTS:
            text = io.BytesIO()
            image.get_file_from_iso_fp(text, joliet_path=f"/{name}")
            found[name] = text.getvalue().decode("utf-8")
    finally:
        image.close()
    return found


def test_a_seed_is_written_once_and_for_root_only(tmp_path: Path) -> None:
    folder = tmp_path / "seed"
    assert seed.write(SEED, TEMPLATES, folder, check=True).changed
    assert not folder.exists()
    written = seed.write(SEED, TEMPLATES, folder)
    assert (written.changed, written.iso) == (True, folder / "seed.iso")
    assert burned(written.iso) == {"": "CIDATA", **seed.render(SEED, TEMPLATES)}
    assert not seed.write(SEED, TEMPLATES, folder).changed
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert seed.write(replace(SEED, instance_id="2"), TEMPLATES, folder).changed
    assert "2" in burned(written.iso)["meta-data"]


def test_a_file_that_is_gone_makes_the_seed_anew(tmp_path: Path) -> None:
    written = seed.write(SEED, TEMPLATES, tmp_path)
    written.iso.unlink()
    assert seed.write(SEED, TEMPLATES, tmp_path).changed
    (tmp_path / "meta-data").write_text("{}")
    assert seed.write(SEED, TEMPLATES, tmp_path).changed
    assert yaml.safe_load((tmp_path / "meta-data").read_text())["instance-id"] == "lab-vm-1"


def test_proxies_of_the_host_stay_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    dump = 'Acquire::http::Proxy "http://127.0.0.1:1";\nAcquire::Check-Date "false";\n'

    def fake(argv: tuple[str, ...], **_: Any) -> shell.Completed:
        return shell.Completed(argv, 0, dump, "", 0.0)

    monkeypatch.setattr(shell, "run", fake)
    text = seed.host_apt_settings()
    assert "127.0.0.1" not in text
    assert 'Acquire::Check-Date "false";' in text
    assert json.dumps(text)
