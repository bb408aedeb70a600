"""Huge pages are counted before QEMU runs out of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery.errors import HostError, UsageError
from orrery.guest import pages


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "hugepages-2048kB"
    folder.mkdir()
    (folder / "free_hugepages").write_text("100\n")
    (folder / "resv_hugepages").write_text("36\n")
    monkeypatch.setattr(pages, "POOLS", tmp_path)
    return folder


def test_what_is_free_and_not_reserved_suffices() -> None:
    pages.require(128, 2048)


def test_too_few_pages_name_the_numbers_and_the_variable() -> None:
    with pytest.raises(HostError, match=r"64 free, 65 needed for 130 MB\. Set hugepages_count"):
        pages.require(130, 2048)


def test_half_a_page_is_refused() -> None:
    with pytest.raises(UsageError, match="--memory 129: .* a multiple of 2 MB"):
        pages.require(129, 2048)


def test_a_size_that_the_host_has_not_is_named(pool: Path) -> None:
    with pytest.raises(HostError, match="hugepages-1048576kB/free_hugepages: No such file"):
        pages.require(1024, 1048576)
