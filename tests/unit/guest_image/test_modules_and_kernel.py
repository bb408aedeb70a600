from __future__ import annotations

import gzip
import lzma
import struct
from pathlib import Path

import pytest

from orrery.errors import ConfigurationError, HostError
from orrery.guest.image import kernel, modules
from orrery.guest.image.needs import MissingProgramError
from tests.unit.guest_image.test_archive_and_elf import object_file


def module(needs: str = "", alias: str = "") -> bytes:
    return object_file({".modinfo": f"alias={alias}\0depends={needs}\0".encode()})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Modules: net needs ring and failover, failover needs ring; fs is packed."""
    folder = tmp_path / "kernel/drivers"
    folder.mkdir(parents=True)
    (folder / "virtio_net.ko").write_bytes(module("virtio_ring,net-failover", "virtio:d01*"))
    (folder / "net_failover.ko").write_bytes(module("virtio_ring"))
    (folder / "virtio_ring.ko").write_bytes(module())
    (folder / "virtio-rng.ko.xz").write_bytes(lzma.compress(module("core")))
    (folder / "ext4.ko.gz").write_bytes(gzip.compress(module()))
    (folder / "new.ko.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    return tmp_path


def test_modules_come_after_what_they_need(tree: Path) -> None:
    found = modules.resolve(["virtio_net"], modules.index(tree), frozenset())
    assert list(found) == ["virtio_ring", "net_failover", "virtio_net"]
    assert modules.dependencies(found).splitlines() == [
        "virtio_ring.ko:",
        "net_failover.ko: virtio_ring.ko",
        "virtio_net.ko: net_failover.ko virtio_ring.ko",
    ]
    assert "alias virtio:d01* virtio_net\n" in modules.aliases(found)


def test_packed_modules_are_unpacked_and_parts_of_the_kernel_are_left_out(tree: Path) -> None:
    built_in = modules.builtin("kernel/lib/core.ko\nkernel/net/af_packet.ko\n")
    wanted = ["virtio_rng", "ext4", "af_packet"]
    found = modules.resolve(wanted, modules.index(tree), built_in)
    assert {name: one.file for name, one in found.items()} == {
        "virtio_rng": "virtio-rng.ko",
        "ext4": "ext4.ko",
    }


def test_an_unknown_module_is_named_with_who_asks_for_it(tree: Path) -> None:
    with pytest.raises(ConfigurationError, match="the kernel has no module virtio_none "):
        modules.resolve(["virtio-none"], modules.index(tree), frozenset())
    with pytest.raises(ConfigurationError, match=r"no module core \(virtio_rng needs it\)"):
        modules.resolve(["virtio_rng"], modules.index(tree), frozenset())


def test_an_optional_module_may_be_missing(tree: Path) -> None:
    found = modules.resolve([], modules.index(tree), frozenset(), optional=["gone", "ext4"])
    assert list(found) == ["ext4"]


def test_a_missing_unpacker_is_named_with_its_package(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/none")
    with pytest.raises(MissingProgramError, match="zstd is not there") as caught:
        modules.resolve(["new"], modules.index(tree), frozenset())
    assert caught.value.packages == ("zstd",)
    assert "Install zstd." in str(caught.value)


def test_a_damaged_module_is_named(tree: Path) -> None:
    path = tree / "kernel/drivers/virtio-rng.ko.xz"
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(HostError, match=r"virtio-rng.ko.xz cannot be unpacked"):
        modules.resolve(["virtio_rng"], modules.index(tree), frozenset())


def boot_image(packed: bytes) -> bytes:
    """A boot image with one sector of setup; the size of the kernel is behind the payload."""
    head = bytearray(1024)
    head[kernel.SETUP_SECTORS_AT] = 1
    head[kernel.MAGIC_AT : kernel.MAGIC_AT + 4] = kernel.MAGIC
    data = packed + bytes(4)
    struct.pack_into("<II", head, kernel.PAYLOAD_AT, 16, len(data))
    return bytes(head) + bytes(16) + data + b"signature"


def elf_with_note(owner: bytes, kind: int) -> bytes:
    note = struct.pack("<III", len(owner), 8, kind) + owner + bytes(8)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HHI", 2, 62, 1)
    head += struct.pack("<QQQI", 0, 64, 0, 0) + struct.pack("<HHHHHH", 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 4, 0, 120, 0, 0, len(note), len(note), 4)
    return head + segment + note


PVH = elf_with_note(b"Xen\0", 18)
# One literal run and one match that reaches into itself: 'ab' and then 14 more of them.
LZ4_BLOCK = b"\x2a" + b"ab" + b"\x02\x00"
LZ4 = kernel.LZ4 + struct.pack("<I", len(LZ4_BLOCK)) + LZ4_BLOCK


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_kernel_is_unpacked_where_qemu_can_start_that(pack: object) -> None:
    assert callable(pack)
    assert kernel.startable(boot_image(pack(PVH))) == (PVH, True)


def test_lz4_matches_may_reach_into_what_they_make() -> None:
    assert kernel.unpack(LZ4 + bytes(4)) == b"ab" * 8


def test_long_lengths_of_lz4_go_on_over_bytes_of_255() -> None:
    text = bytes(range(256)) * 2
    block = b"\xf0" + bytes([255, len(text) - 15 - 255]) + text
    packed = kernel.LZ4 + struct.pack("<I", len(block)) + block
    assert kernel.unpack(packed + bytes(4)) == text


@pytest.mark.parametrize(
    "image",
    [
        b"no boot image",
        boot_image(b"\x00\x01\x02\x03 unknown packing"),
        boot_image(gzip.compress(PVH)[:40]),
        boot_image(kernel.LZ4 + b"\x05\0\0\0\x0fab\xff\xff"),
        boot_image(gzip.compress(elf_with_note(b"GNU\0", 3))),
        boot_image(gzip.compress(b"no ELF file")),
    ],
)
def test_a_kernel_that_is_not_understood_stays_as_it_is(image: bytes) -> None:
    assert kernel.startable(image) == (image, False)
