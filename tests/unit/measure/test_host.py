from __future__ import annotations

from pathlib import Path

from orrery.measure import host


def write(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", "-")).write_text(text)
    return folder


def test_the_host_is_described_from_proc_and_etc(tmp_path: Path) -> None:
    proc = write(
        tmp_path / "proc",
        cpuinfo="processor : 0\nmodel name\t: Example  CPU @ 2.0GHz\n",
        meminfo="MemTotal:        8192000 kB\nMemFree: 1 kB\n",
        loadavg="0.50 0.25 0.10 1/100 4242\n",
    )
    etc = write(tmp_path / "etc", os_release='NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12"\n')
    found = host.describe(proc, etc)
    assert found.cpu_model == "Example CPU @ 2.0GHz"
    assert found.memory_mb == 8000
    assert found.distro == "Debian GNU/Linux 12"
    assert found.load_average == (0.5, 0.25, 0.1)
    assert found.cores >= 1


def test_what_cannot_be_read_is_called_unknown(tmp_path: Path) -> None:
    found = host.describe(tmp_path / "none", tmp_path / "none")
    assert found.distro == "unknown"
    assert found.memory_mb == 0
    assert found.cpu_model
    assert found.load_average == (0.0, 0.0, 0.0)


def test_this_host_can_be_described() -> None:
    found = host.describe().as_mapping()
    assert found["memory_mb"] > 0
    assert len(found["load_average"]) == 3
