from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from orrery.guest.image import cpio
from orrery.packages import elf


def test_the_same_entries_give_the_same_archive_in_any_order() -> None:
    entries = [cpio.file("b", b"two"), cpio.link("a", "b"), cpio.folder("c")]
    assert cpio.archive(entries) == cpio.archive(reversed(entries))


def test_missing_folders_come_before_what_is_in_them() -> None:
    archive = cpio.archive([cpio.file("etc/acpi/PWRF/1", b""), cpio.file("etc-2", b"")])
    places = [archive.index(name + b"\0") for name in (b"etc", b"etc/acpi", b"etc/acpi/PWRF/1")]
    assert places == sorted(places)


def test_two_entries_of_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="etc/hosts is there twice"):
        cpio.archive([cpio.file("etc/hosts", b"1"), cpio.file("etc/hosts", b"2")])


def test_fields_are_aligned_and_the_archive_ends_with_a_trailer() -> None:
    archive = cpio.archive([cpio.character_device("dev/console", 5, 1), cpio.file("f", b"12345")])
    assert len(archive) % cpio.BLOCK == 0
    at, names = 0, []
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + n * 8 : at + 14 + n * 8], 16) for n in range(13)]
        size, name_size = fields[6], fields[11]
        name = archive[at + 110 : at + 109 + name_size].decode()
        names.append(name)
        if name == "dev/console":
            assert fields[9:11] == [5, 1]
        at += (110 + name_size + 3) // 4 * 4 + (size + 3) // 4 * 4
        if name == "TRAILER!!!":
            break
    assert names == ["dev", "dev/console", "f", "TRAILER!!!"]


def test_needs_of_a_real_program_are_what_its_loader_says() -> None:
    program = Path(shutil.which("env") or "/usr/bin/env").resolve().read_bytes()
    assert any(name.startswith("libc.") for name in elf.needed(program))
    assert elf.interpreter(program).startswith("/lib")


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(60)])
def test_what_is_no_elf_file_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(elf.ElfError, match="no ELF file of 64 bits"):
        elf.needed(data)


def test_a_file_that_is_cut_off_is_said_to_be_so() -> None:
    program = Path(shutil.which("env") or "/usr/bin/env").resolve().read_bytes()
    for length in (20, 70, 400):
        with pytest.raises(elf.ElfError, match="the file is cut off"):
            elf.needed(program[:length])


def object_file(sections: dict[str, bytes]) -> bytes:
    """A small ELF file with sections and no segments, as a module has them."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in [*sections, ".shstrtab"])
    body, heads = bytearray(64), [bytes(64)]
    for name, data in [*sections.items(), (".shstrtab", names)]:
        at = names.index(name.encode() + b"\0")
        heads.append(struct.pack("<IIQQQQIIQQ", at, 1, 0, 0, len(body), len(data), 0, 0, 1, 0))
        body += data
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HHI", 1, 62, 1)
    head += struct.pack("<QQQI", 0, 0, len(body), 0)
    head += struct.pack("<HHHHHH", 64, 56, 0, 64, len(heads), len(heads) - 1)
    body[:64] = head
    return bytes(body) + b"".join(heads)


def test_what_a_module_says_of_itself_is_read() -> None:
    data = object_file({".text": b"\x90", ".modinfo": b"alias=a*\0depends=x,y\0\0license=GPL\0"})
    expected = (("alias", "a*"), ("depends", "x,y"), ("license", "GPL"))
    assert elf.module_information(data) == expected


def test_an_object_that_is_no_module_is_refused() -> None:
    with pytest.raises(elf.ElfError, match="no section .modinfo"):
        elf.module_information(object_file({".text": b"\x90"}))
