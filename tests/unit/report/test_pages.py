"""Pages of records: complete, escaped, the same every time."""

from __future__ import annotations

import dataclasses
import errno
import html
import itertools
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from orrery.errors import MeasurementError
from orrery.measure import record as records
from orrery.measure.record import Record, Row
from orrery.report import pages, view
from tests.contracts import tree
from tests.support.bench_record import bench_record

RESULTS = sorted(
    path for path in (tree.ROOT / "docs" / "results").glob("*.json") if "rows" in path.read_text()
)
HOSTILE = "</style><script>alert(1)</script>'\"&{{ 7*7 }}\x00\ud800"


class Reader(HTMLParser):
    """Text, elements and attributes of a page; refuses what is not nested well."""

    VOID = ("meta", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def write(tmp_path: Path, record: Record, **options: Any) -> str:
    path = pages.write(record, tmp_path / "records" / "r-1.json", tmp_path / "report", **options)
    assert path == tmp_path / "report" / "r-1.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("bench"), bench_record())


def test_every_row_with_every_trial_is_on_the_page(bench: str) -> None:
    text = Reader(bench).text
    for row in bench_record().rows:
        assert ", ".join(str(trial) for trial in row.trials) in text
        assert row.scenario in text
    assert bench.count("<tr>") > 2 * len(bench_record().rows)


def test_what_has_no_figure_is_on_the_page_with_its_reason(bench: str) -> None:
    text = Reader(bench).text
    record = bench_record()
    for one in (*record.skipped, *record.failed, *record.dropped):
        assert one["reason"] in text
    assert "5 (2 dropped)" in text or "(1 dropped)" in text
    for row in record.rows:
        assert row.stable or row.reason in text


def test_the_head_of_the_page_says_where_when_and_with_what(bench: str) -> None:
    text = Reader(bench).text
    record = bench_record()
    for needed in (
        "What does vhost-user bring?",
        "2026-11-25 04:05 UTC",
        "TCG",
        str(record.host["cpu_model"]),
        record.git.removesuffix("-dirty"),
        "qemu 10.0.2",
        "r-1.json",
        "./lab bench --suite standard",
    ):
        assert needed in text


def test_a_suite_of_the_users_own_is_measured_again_by_its_path() -> None:
    made = bench_record()
    own = dataclasses.replace(made, summary={**made.summary, "asked_as": "my two.yml"})
    assert view.command(own) == "./lab bench --suite 'my two.yml'"
    assert view.command(made) == "./lab bench --suite standard"


def test_conditions_that_were_read_back_are_said_once_for_all_that_share_them(bench: str) -> None:
    text = Reader(bench).text
    kinds = {json.dumps(one) for one in bench_record().conditions.values()}
    assert text.count("offloads near tso: ") == len(kinds) == 4
    assert text.count("offloads near tso: on") == 1
    assert "all off" in text
    assert "on: tso, gso, tx_checksum, gro, vnet_hdr" in text


def test_the_page_needs_nothing_from_outside_and_no_script(bench: str) -> None:
    found = Reader(bench)
    assert "script" not in found.tags
    targets = [value for name, value in found.attributes if name in ("href", "src")]
    assert targets
    for target in targets:
        assert target is not None
        assert target.startswith(("#", "data:,", "../records/", "index.html"))
    assert not re.search(r"url\((?!#)|@import|https?://", bench)
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def test_headings_follow_each_other_and_ids_are_unique(bench: str) -> None:
    found = Reader(bench)
    levels = [int(tag[1]) for tag in found.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [value for name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_every_plot_has_its_finding_as_a_text(bench: str) -> None:
    found = Reader(bench)
    labels = [value for name, value in found.attributes if name == "aria-label"]
    assert sum(bool(one and one.startswith("Ratios, ")) for one in labels) >= 4
    assert any(one and "Medians: " in one and "Gbit/s" in one for one in labels)


def test_the_same_record_gives_the_same_page(bench: str, tmp_path: Path) -> None:
    assert write(tmp_path, bench_record()) == bench


def hostile() -> Record:
    record = bench_record()
    row = Row.of(HOSTILE, HOSTILE, HOSTILE, [1, 2, 3, 2, 2])
    ratio = dataclasses.replace(record.ratios[0], a=HOSTILE, metric=HOSTILE, why=HOSTILE)
    return dataclasses.replace(
        record,
        scenario={"name": HOSTILE, "suite": HOSTILE},
        host={**record.host, "cpu_model": HOSTILE, "distro": HOSTILE},
        versions={HOSTILE: HOSTILE},
        git=HOSTILE,
        rows=(*record.rows, row),
        ratios=(*record.ratios, ratio),
        scenarios={**record.scenarios, HOSTILE: {"traffic": HOSTILE, "backend": HOSTILE}},
        conditions={HOSTILE: {"offloads": {HOSTILE: HOSTILE}}},
        skipped=({"scenario": HOSTILE, "reason": HOSTILE},),
        dropped=({"scenario": HOSTILE, "block": 1, "reason": HOSTILE},),
        failed=({"scenario": HOSTILE, "reason": HOSTILE},),
        summary={"about": HOSTILE, HOSTILE: [HOSTILE], "list": [[HOSTILE]]},
    )


def test_nothing_that_a_record_says_becomes_markup(bench: str, tmp_path: Path) -> None:
    text = write(tmp_path, hostile())
    found = Reader(text)
    assert "script" not in found.tags
    assert "{{ 7*7 }}" in html.unescape(text)
    assert set(found.tags) == set(Reader(bench).tags)
    assert text.count("</style>") == 1


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> pages.Written:
    """The pages of all records of this repository and of one more; a second for each."""
    folder = tmp_path_factory.mktemp("kept")
    records.save(bench_record(), folder / "records")
    return pages.write_all(
        [folder / "records", *{path.parent for path in RESULTS}], folder / "report"
    )


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_kept_record_has_a_page(path: Path, kept: pages.Written) -> None:
    record = records.load(path)
    (page,) = [page for page in kept.pages if page.stem == path.stem]
    found = Reader(page.read_text(encoding="utf-8"))
    assert view.title(record) in found.text
    assert found.tags.count("svg") >= 1
    for row in record.rows:
        assert ", ".join(str(trial) for trial in row.trials) in found.text


def test_there_are_kept_records_to_draw() -> None:
    assert len(RESULTS) >= 5


def test_the_command_that_repeats_a_record_is_one_that_exists() -> None:
    tasks = tree.tasks()
    for kind, (task, options) in view.COMMANDS.items():
        known = {name for argument in tasks[task].get_arguments() for name in argument.names}
        assert set(options) <= {name.replace("-", "_") for name in known}, kind


def test_a_page_without_figures_says_so(tmp_path: Path) -> None:
    text = write(tmp_path, dataclasses.replace(bench_record(), rows=(), ratios=()))
    assert "No figure came out of this measurement." in text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of records with everything that may be in one."""
    made = tmp_path / "records"
    saved = records.save(bench_record(), made)
    data = json.loads(saved.read_text())
    (made / "old.json").write_text(json.dumps({**data, "schema": 1}))
    (made / "cut.json").write_text(saved.read_text()[:500])
    (made / "foreign.json").write_text('{"changed": 1}')
    (made / "nan.json").write_text(
        json.dumps({**data, "rows": [{**data["rows"][0], "median": float("nan")}]})
    )
    (made / "folder.json").mkdir()
    (made / "notes.txt").write_text("x")
    return made


def test_files_that_are_no_records_are_named_and_the_rest_goes_on(folder: Path) -> None:
    made = pages.write_all([folder], folder.parent / "report")
    assert [page.name for page in made.pages] == ["bench-20261125T040506Z-1.html"]
    reasons = {one.path.name: one.reason for one in made.skipped}
    assert sorted(reasons) == ["cut.json", "folder.json", "foreign.json", "nan.json", "old.json"]
    assert reasons["old.json"].startswith("a record of schema 1; schema 2 is read here.")
    assert reasons["nan.json"] == "no valid record: nan is no figure"
    listed = Reader(made.index.read_text()).text
    for one in made.skipped:
        assert str(one.path) in listed
        assert one.reason in listed


def test_the_list_has_what_when_host_and_commit_and_links_that_lead_somewhere(
    kept: pages.Written,
) -> None:
    found = Reader(kept.index.read_text())
    links = [value for name, value in found.attributes if name == "href" and value != "data:,"]
    assert sorted(links, key=str) == sorted(page.name for page in kept.pages)
    record = bench_record()
    for needed in ("Network comparison: suite standard", "2026-11-25 04:05 UTC", record.git[:12]):
        assert needed in found.text
    for page in kept.pages:
        back = [v for n, v in Reader(page.read_text()).attributes if n == "href"]
        assert "index.html" in back


def test_pages_of_records_that_are_gone_are_removed(folder: Path) -> None:
    report = folder.parent / "report"
    old = pages.write(bench_record(), folder / "gone.json", report)
    made = pages.write_all([folder], report)
    assert not old.exists()
    assert sorted(report.iterdir()) == sorted([*made.pages, made.index])


def test_a_record_that_is_in_two_folders_has_one_page(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    saved = next(folder.glob("bench-*.json"))
    (other / saved.name).write_bytes(saved.read_bytes())
    assert len(pages.write_all([folder, other], tmp_path / "report").pages) == 1
    (other / saved.name).write_text(json.dumps(json.loads(saved.read_text())))
    made = pages.write_all([folder, other], tmp_path / "report")
    assert [page.stem.removeprefix(saved.stem) for page in made.pages] == ["", "-2"]


def test_a_folder_without_records_gives_a_list_that_says_what_to_do(tmp_path: Path) -> None:
    made = pages.write_all([tmp_path / "none"], tmp_path / "report")
    assert made.pages == ()
    assert "There is no record yet." in made.index.read_text()


def test_a_page_that_cannot_be_written_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "report").touch()
    with pytest.raises(MeasurementError, match="cannot be written: File exists.* run ./lab report"):
        pages.write(bench_record(), tmp_path / "r.json", tmp_path / "report")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, r"No space left on device. See what takes the space \(df -h .*/report\)"),
        (errno.EDQUOT, r"Disk quota exceeded. See what takes the space \(df -h .*/report\)"),
        (errno.EACCES, r"Permission denied. The folder may belong to root, .* sudo ./lab report"),
        (errno.EROFS, r"Read-only file system. .*/report has to be a folder that can be written"),
    ],
)
def test_a_page_that_the_disk_refuses_says_what_to_do_about_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("orrery.report.pages.os.fdopen", refuse)
    with pytest.raises(MeasurementError, match=f"the page cannot be written: {advice}"):
        pages.write(bench_record(), tmp_path / "r.json", tmp_path / "report")
    assert list((tmp_path / "report").iterdir()) == []
