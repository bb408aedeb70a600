from __future__ import annotations

from orrery.packages import mirror
from tests.contracts import tree

TARGETS = """http://mirror/debian/|bookworm|main|Debian
http://mirror/debian/|bookworm|main|Debian
http://mirror/security/|bookworm-security|main|Debian
http://mirror/debian/|bookworm|non-free|Debian
http://vendor/apt/|bookworm|main|Vendor
http://mirror/debian/|trixie|main|Debian
"""


def test_modules_have_the_same_text_on_hosts_without_orrery() -> None:
    module = tree.ROOT / "plugins/module_utils/lab_mirror.py"
    assert module.samefile(tree.ROOT / "tools/orrery/packages/mirror.py")


def test_the_mirror_is_the_host_s_own_without_what_others_added() -> None:
    assert mirror.mirror_lines("bookworm", "", TARGETS) == [
        "deb http://mirror/debian/ bookworm main",
        "deb http://mirror/security/ bookworm-security main",
    ]


def test_a_given_mirror_replaces_the_host_s() -> None:
    given = mirror.mirror_lines("bookworm", "http://near/debian", TARGETS)
    assert given == ["deb http://near/debian bookworm main"]
    whole = "deb [trusted=yes] http://near ./"
    assert mirror.mirror_lines("bookworm", whole, TARGETS) == [whole]


def test_proxy_and_certificates_are_taken_over_and_nothing_else() -> None:
    dump = (
        'Acquire::http::Proxy "http://proxy:1";\nAcquire::cdrom::mount "/cd";\n'
        'Acquire::Check-Valid-Until "false";\n'
    )
    text = mirror.apt_settings(dump, "http://mine:2", "/ca.pem")
    assert 'Acquire::http::Proxy "http://proxy:1";' in text
    assert 'Acquire::Check-Valid-Until "false";' in text
    assert "cdrom" not in text
    assert text.index("proxy:1") < text.index("mine:2")
    assert 'Acquire::https::CAInfo "/ca.pem";' in text
