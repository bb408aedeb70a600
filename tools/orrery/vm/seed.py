"""What cloud-init reads in a new machine: a NoCloud seed, the same for every distribution."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycdlib

from orrery import shell
from orrery.errors import ConfigurationError
from orrery.packages import mirror
from orrery.packages.store import write as write_file
from orrery.templates import rendered

LABEL = "CIDATA"
"""Name of the volume that cloud-init looks for."""
ISO = "seed.iso"
TEXTS = ("user-data", "meta-data", "network-config")
QUERY_TIMEOUT_S = 60
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----", re.DOTALL)
APT_SYSTEMS = {"debian": "main", "ubuntu": "main universe"}
"""Systems that apt serves, with the components that a lab needs."""
APT_CONF = "/etc/apt/apt.conf.d/90orrery"
DNF_CONF = "/etc/dnf/dnf.conf"
DEB822 = tuple(f"/etc/apt/sources.list.d/{name}.sources" for name in ("debian", "ubuntu"))
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class SeedNic:
    """An interface.

    Attributes:
        mac: By which it is found, whatever the system calls it.
        address: With prefix length; empty asks DHCP.
        optional: Whether the start does not wait for it.
    """

    mac: str
    address: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Seed:
    """A machine as it is to become.

    Attributes:
        hostname: Its name.
        instance_id: Another one makes cloud-init do everything again.
        user: Who comes in over ssh, with all rights by sudo and without a password.
        authorized_key: Line of the key that this user shows.
        host_key: Private key that the machine shows, as OpenSSH writes it.
        host_key_pub: Its public half.
        system: Of the image: `debian`, `ubuntu`, `centos`, `fedora`.
        nics: Interfaces; empty asks DHCP on all.
        ca_bundle: File of certificates to trust besides the system's.
        apt_mirror: Mirror of Debian or Ubuntu, a URL or a line that begins with `deb `; empty
            leaves what the image has.
        apt_settings: Further text for an apt.conf, as `host_apt_settings` has it.
        proxy: HTTP proxy for the package manager.
        packages: To install at the first start.
        files: Texts to write, by absolute path.
        commands: To run at the end of the first start; no shell reads them.
    """

    hostname: str
    instance_id: str
    user: str
    authorized_key: str
    host_key: str
    host_key_pub: str
    system: str = "debian"
    nics: tuple[SeedNic, ...] = ()
    ca_bundle: Path | None = None
    apt_mirror: str = ""
    apt_settings: str = ""
    proxy: str = ""
    packages: tuple[str, ...] = ()
    files: Mapping[str, str] | None = None
    commands: tuple[tuple[str, ...], ...] = ()

    def check(self) -> None:
        """See that names and keys are some.

        Raises:
            ConfigurationError: They are not.
        """
        for what, text in (("hostname", self.hostname), ("user", self.user)):
            if not NAME.fullmatch(text):
                raise ConfigurationError(
                    f"cloud-init: the {what} '{text}' is none; a small letter, then up to 62 of "
                    "a-z, 0-9 and - are needed."
                )
        if "PRIVATE KEY" not in self.host_key or not self.host_key_pub.startswith("ssh-ed25519 "):
            raise ConfigurationError(
                f"cloud-init: the host key of {self.hostname} is no Ed25519 key of OpenSSH. "
                "Remove it: the next ./lab up makes another."
            )


@dataclass(frozen=True)
class Written:
    """A seed on the disk.

    Attributes:
        changed: Whether it is another than before.
    """

    iso: Path
    changed: bool


def write(seed: Seed, templates: Path, folder: Path, *, check: bool = False) -> Written:
    """Have the seed in a folder: its texts, to look at, and the image that the machine gets.

    Args:
        seed: What it says.
        templates: Folder `templates/cloud-init`.
        folder: Made with mode 0700; the files are 0600, since they hold the host key.
        check: Only say whether it would change.

    Raises:
        ConfigurationError: Something in the seed is wrong, or a template is.
        OSError: The image cannot be written.
    """
    texts = render(seed, templates)
    iso = folder / ISO
    if iso.is_file() and all(_text(folder / name) == text for name, text in texts.items()):
        return Written(iso, False)
    if check:
        return Written(iso, True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as name:
        work = Path(name)
        for file, text in texts.items():
            write_file(work / file, text.encode(), 0o600)
        _burn([work / file for file in texts], work / ISO)
        (work / ISO).chmod(0o600)
        # The texts come last: without the image of the same seed they are not taken for whole.
        iso.unlink(missing_ok=True)
        for file in TEXTS:
            (work / file).replace(folder / file)
        (work / ISO).replace(iso)
    return Written(iso, True)


def _burn(files: Sequence[Path], target: Path) -> None:
    """Write an ISO 9660 image whose names are as long as Joliet and Rock Ridge have them."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    try:
        for number, path in enumerate(files):
            iso.add_file(
                str(path),
                iso_path=f"/SEED{number}.;1",
                rr_name=path.name,
                joliet_path=f"/{path.name}",
            )
        iso.write(str(target))
    finally:
        iso.close()


def render(seed: Seed, templates: Path) -> dict[str, str]:
    """The texts of a seed, by the name cloud-init knows them by.

    Raises:
        ConfigurationError: Something in the seed is wrong, or a template is.
    """
    seed.check()
    values = view(seed)
    names = TEXTS if seed.nics else TEXTS[:2]
    # What is put in goes through `tojson`, which YAML reads as it is meant.
    return {name: rendered(templates, f"{name}.j2", markup=False, seed=values) for name in names}


def view(seed: Seed) -> dict[str, Any]:
    """What templates see."""
    apt = seed.system in APT_SYSTEMS
    other = bool(apt and seed.apt_mirror)
    return {
        "hostname": seed.hostname,
        "instance_id": seed.instance_id,
        "user": seed.user,
        "title": "Orrery",
        "authorized_keys": [seed.authorized_key.strip()],
        "host_key": seed.host_key,
        "host_key_pub": seed.host_key_pub.strip(),
        "nics": [_nic(number, nic) for number, nic in enumerate(seed.nics)],
        "certificates": certificates(seed.ca_bundle),
        "sources": _sources(seed) if other else "",
        # These files of newer releases would stand beside the mirror.
        "boot_commands": [["rm", "-f", *DEB822]] if other else [],
        "files": _files(seed),
        "packages": list(seed.packages),
        "commands": [list(command) for command in seed.commands],
    }


def certificates(bundle: Path | None) -> list[str]:
    """Each certificate of a bundle by itself, as cloud-init wants them.

    Raises:
        ConfigurationError: There is none in it.
    """
    if bundle is None:
        return []
    try:
        found = CERTIFICATE.findall(bundle.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise ConfigurationError(f"{bundle}: {error.strerror}. Set lab_ca_bundle.") from error
    if not found:
        raise ConfigurationError(f"{bundle}: holds no certificate (PEM). Set lab_ca_bundle.")
    return [f"{text}\n" for text in dict.fromkeys(found)]


def host_apt_settings() -> str:
    """What this host's apt says of its mirror that a machine behind it needs, too.

    Proxies are left out: one on the host's loopback would not be there.
    """
    dump = shell.run(mirror.SETTINGS, timeout_s=QUERY_TIMEOUT_S).stdout
    lines = mirror.apt_settings(dump, "", "").splitlines()
    return "".join(f"{line}\n" for line in lines if "acquire::http" not in line.lower())


def _nic(number: int, nic: SeedNic) -> dict[str, Any]:
    return {
        "name": f"nic{number}",
        "mac": nic.mac.lower(),
        "address": nic.address,
        "optional": nic.optional,
    }


def _sources(seed: Seed) -> str:
    if seed.apt_mirror.startswith("deb "):
        return f"{seed.apt_mirror}\n"
    # cloud-init puts the code name in.
    return f"deb {seed.apt_mirror} $RELEASE {APT_SYSTEMS[seed.system]}\n"


def _files(seed: Seed) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = [
        {"path": path, "content": text, "permissions": "0644"}
        for path, text in sorted((seed.files or {}).items())
    ]
    if seed.system in APT_SYSTEMS:
        text = seed.apt_settings
        if seed.proxy:
            text += "".join(
                f'Acquire::{kind}::Proxy "{seed.proxy}";\n' for kind in ("http", "https")
            )
        if text:
            files.append({"path": APT_CONF, "content": text, "permissions": "0644"})
    elif seed.proxy:
        text = f"proxy={seed.proxy}\n"
        files.append({"path": DNF_CONF, "content": text, "append": True})
    return files


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
