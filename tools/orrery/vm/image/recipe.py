"""What a bootstrapped image holds: packages, settings, and units that do not run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orrery.errors import ConfigurationError
from orrery.guest.boot import LATE_PROCESSORS

REVISION = "7"
"""Raised when the way of building changes, so that older images are not taken for new ones."""

PACKAGES = (
    "ca-certificates",
    "cloud-init",
    "dbus",
    "e2fsprogs",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "kmod",
    "netbase",
    "openssh-server",
    "procps",
    "python3",
    "qemu-guest-agent",
    "sudo",
    "systemd",
    "systemd-sysv",
    "udev",
    "zstd",
)
RESOLVER = "systemd-resolved"
PART_OF_SYSTEMD = frozenset({"jammy", "focal", "bullseye"})
"""Releases whose package systemd has the resolver in it."""
KERNEL = {"debian": "linux-image-cloud-amd64", "ubuntu": "linux-image-virtual"}
COMPONENTS = {"debian": "main", "ubuntu": "main universe"}

# Each of these costs seconds of a start under TCG, or takes apt's lock from who installs roles.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "cloud-init-hotplugd.socket",
    # The seed says `dsmode: local`: its work is done then, and SSH would wait for Python's start.
    "cloud-init.service",
    "dpkg-db-backup.timer",
    "dpdk.service",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "modprobe@drm.service",
    "motd-news.timer",
    "systemd-binfmt.service",
    "systemd-pstore.service",
    "systemd-timesyncd.service",
    "unattended-upgrades.service",
)
# Of packages that a lab's roles install: an image that has them already starts them no earlier than
# the roles do.
DISABLED = (
    # Docker only needs its parser; to load every profile takes an emulated processor 10 s.
    "apparmor.service",
    "containerd.service",
    "docker.service",
    "docker.socket",
    "nginx.service",
    "openvswitch-switch.service",
    "ovs-record-hostname.service",
)
# Where a path leads. The generator of cloud-init looks for clouds with some hundred processes; here
# it is known that there is a seed.
LINKS = {
    "etc/systemd/system-generators/cloud-init-generator": "/dev/null",
    "etc/systemd/system/multi-user.target.wants/cloud-init.target": (
        "/lib/systemd/system/cloud-init.target"
    ),
    # Debian has networkd, and does not start it.
    "etc/systemd/system/multi-user.target.wants/systemd-networkd.service": (
        "/lib/systemd/system/systemd-networkd.service"
    ),
    "etc/systemd/system/sockets.target.wants/systemd-networkd.socket": (
        "/lib/systemd/system/systemd-networkd.socket"
    ),
    "etc/systemd/system/network-online.target.wants/systemd-networkd-wait-online.service": (
        "/lib/systemd/system/systemd-networkd-wait-online.service"
    ),
    "etc/systemd/system/default.target": "/lib/systemd/system/multi-user.target",
}
# cloud-init without what only clouds need: each module is one more import of Python.
CLOUD_INIT = """\
datasource_list: [NoCloud, None]
datasource: {NoCloud: {fs_label: CIDATA}}
preserve_hostname: false
# The mirror that the image was made from is in it already.
apt: {preserve_sources_list: true}
system_info:
  default_user: null
  network: {renderers: [networkd]}
cloud_init_modules:
  - bootcmd
  - write_files
  - growpart
  - resizefs
  - set_hostname
  - update_etc_hosts
  - ca_certs
  - users_groups
  - ssh
cloud_config_modules:
  - apt_configure
  - set_passwords
  - runcmd
cloud_final_modules:
  - package_update_upgrade_install
  - scripts_user
  - final_message
"""
# Nothing but what the root file system is on: unpacking the rest takes seconds under TCG.
INITRAMFS = "MODULES=list\nBUSYBOX=n\nCOMPRESS=zstd\n"
BOOT_MODULES = "virtio_pci\nvirtio_blk\nvirtio_scsi\nsd_mod\next4\n"
# Modules are loaded by then, and devices have their places in memory: see LATE_PROCESSORS.
START_PROCESSORS = """\
#!/bin/sh
[ "$1" != prereqs ] || exit 0
for online in /sys/devices/system/cpu/cpu[1-9]*/online; do
	[ ! -e "$online" ] || echo 1 >"$online"
done
"""
# One interface with an address makes a network: others may have nobody who gives them one.
WAIT_ONLINE = """\
[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-networkd-wait-online --any
"""
FILES = {
    "etc/cloud/cloud.cfg.d/90_orrery.cfg": CLOUD_INIT,
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
    "etc/initramfs-tools/conf.d/orrery": INITRAMFS,
    "etc/initramfs-tools/scripts/init-premount/orrery": START_PROCESSORS,
    "etc/systemd/system/systemd-networkd-wait-online.service.d/orrery.conf": WAIT_ONLINE,
    "usr/share/initramfs-tools/modules.d/orrery": BOOT_MODULES,
}
# The second line spares an emulated start what it would spend on testing itself.
APPEND = (
    "root=/dev/vda rw console=ttyS0 panic=-1 loglevel=4 cloud-init=enabled "
    "cryptomgr.notests no_timer_check tsc=reliable 8250.nr_uarts=1 random.trust_cpu=on "
    f"{LATE_PROCESSORS}"
)


@dataclass(frozen=True)
class Recipe:
    """A system to put together.

    Attributes:
        system: `debian` or `ubuntu`.
        release: Code name.
        packages: All that is asked for; the essential ones are not named.
        files: Text by path below the root; what begins with `#!` is a program.
        links: Target by path below the root.
        sources: Lines of its sources.list.
    """

    system: str
    release: str
    packages: tuple[str, ...]
    files: Mapping[str, str]
    links: Mapping[str, str]
    sources: tuple[str, ...]

    def parts(self) -> list[str]:
        """All that decides what comes out."""
        named = [f"{path}={text}" for path, text in sorted(self.files.items())]
        return [
            *[REVISION, self.system, self.release, " ".join(self.packages), *named],
            *[f"{path}>{target}" for path, target in sorted(self.links.items())],
            *[" ".join(DISABLED), APPEND, *self.sources],
        ]


def recipe(system: str, release: str, extra: tuple[str, ...], sources: tuple[str, ...]) -> Recipe:
    """The recipe of a release.

    Args:
        system: `debian` or `ubuntu`.
        release: Code name.
        extra: Packages besides.
        sources: Lines of sources.list.

    Raises:
        ConfigurationError: Nothing is known of that system.
    """
    if system not in KERNEL:
        raise ConfigurationError(
            f"VM image: {system} {release} cannot be bootstrapped, only "
            f"{' and '.join(sorted(KERNEL))} can. Set vm_image_method to download, or vm_image to "
            "one of these."
        )
    resolver = () if release in PART_OF_SYSTEMD else (RESOLVER,)
    packages = tuple(sorted({*PACKAGES, *resolver, KERNEL[system], *extra}))
    masked = {f"etc/systemd/system/{unit}": "/dev/null" for unit in MASKED}
    return Recipe(system, release, packages, FILES, {**LINKS, **masked}, sources)
