"""The record of a measurement: JSON with raw trials, validated when written and when read."""

from __future__ import annotations

import errno
import functools
import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema

import orrery
from orrery import shell
from orrery.errors import HostError, MeasurementError
from orrery.measure import host as hosts
from orrery.measure.rows import Drop, Left, Ratio, Row
from orrery.measure.scenario import Scenario

SCHEMA = 2
CHECKOUT = Path(orrery.__file__).resolve().parents[2]
GIT_TIMEOUT_S = 10.0
FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the kernel says when a file system, or the user's share of it, is full."""

__all__ = ["SCHEMA", "Drop", "Left", "Ratio", "Record", "Row", "begin", "load", "make", "save"]


@dataclass(frozen=True)
class Record:
    """One measurement: what was asked, where, with what, and every trial.

    Attributes:
        scenario: Name and parameters.
        accel: What ran guests (kvm, tcg); none where no guest took part.
        started: UTC, ISO 8601.
        summary: The stable keys that `--json` repeats.
        ratios: Of scenarios that were measured by turns.
        scenarios: Parameters of every scenario that has a row, by name; others may be there, too.
        conditions: What was read back while a scenario ran, by its name.
        skipped: Scenarios that cannot run on this host.
        dropped: Trials that gave no figure.
        failed: Scenarios that were given up.
    """

    kind: str
    scenario: Mapping[str, Any]
    host: Mapping[str, Any]
    versions: Mapping[str, str]
    git: str
    accel: str
    started: str
    rows: tuple[Row, ...]
    summary: Mapping[str, Any] = field(default_factory=dict)
    ratios: tuple[Ratio, ...] = ()
    scenarios: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    skipped: tuple[Left, ...] = ()
    dropped: tuple[Drop, ...] = ()
    failed: tuple[Left, ...] = ()
    schema: int = SCHEMA

    def row(self, metric: str, scenario: str = "") -> Row:
        """The first row of a metric, of a scenario whose name begins so.

        Raises:
            MeasurementError: There is none.
        """
        for row in self.rows:
            if row.metric == metric and row.scenario.startswith(scenario):
                return row
        raise MeasurementError(f"the record has no row of {metric}")

    def as_mapping(self) -> dict[str, Any]:
        """The JSON object that is stored."""
        return {
            "schema": self.schema,
            "kind": self.kind,
            "scenario": dict(self.scenario),
            "host": dict(self.host),
            "versions": dict(self.versions),
            "git": self.git,
            "accel": self.accel,
            "started": self.started,
            "scenarios": {name: dict(one) for name, one in self.scenarios.items()},
            "conditions": {name: dict(one) for name, one in self.conditions.items()},
            "rows": [row.as_mapping() for row in self.rows],
            "ratios": [asdict(ratio) for ratio in self.ratios],
            "skipped": [dict(entry) for entry in self.skipped],
            "dropped": [dict(entry) for entry in self.dropped],
            "failed": [dict(entry) for entry in self.failed],
            "summary": dict(self.summary),
        }


def begin() -> str:
    """The time a measurement starts, as a record holds it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def make(
    scenario: Scenario,
    rows: Sequence[Row],
    summary: Mapping[str, Any],
    *,
    started: str,
    versions: Mapping[str, str] | None = None,
    accel: str = "none",
    host: hosts.Host | None = None,
    ratios: Sequence[Ratio] = (),
    scenarios: Sequence[Scenario] = (),
    conditions: Mapping[str, Mapping[str, Any]] | None = None,
    skipped: Sequence[Left] = (),
    dropped: Sequence[Drop] = (),
    failed: Sequence[Left] = (),
) -> Record:
    """A record with the git id and our versions filled in.

    `scenario` is what was asked for as a whole, `host` what `host.describe` saw before the load
    began; it looks now where that is None. The parameters of `scenarios` are kept beside those that
    the rows know.
    """
    known = {row.scenario: row.parameters for row in rows if row.parameters is not None}
    own = {"orrery": orrery.__version__, "python": platform.python_version()}
    return Record(
        kind=scenario.kind,
        scenario={"name": scenario.name, **scenario.parameters()},
        host=(host or hosts.describe()).as_mapping(),
        versions={**own, **(versions or {})},
        git=git_id(CHECKOUT),
        accel=accel,
        started=started,
        rows=tuple(rows),
        summary=dict(summary),
        ratios=tuple(ratios),
        scenarios={**{one.name: one.parameters() for one in scenarios}, **known},
        conditions=dict(conditions or {}),
        skipped=tuple(skipped),
        dropped=tuple(dropped),
        failed=tuple(failed),
    )


def save(record: Record, directory: Path | None = None) -> Path:
    """Write `<kind>-<utc time>-<n>.json`; it is there as a whole or not at all.

    Without a directory it goes to `.lab/records` of the checkout.

    Raises:
        MeasurementError: The record does not fit the schema, or cannot be written.
    """
    folder = directory or CHECKOUT / ".lab" / "records"
    data = record.as_mapping()
    validate(data, "the new record")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".record-")
    except OSError as error:
        raise _unwritten(folder, error) from error
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(data, stream, indent=1, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        draft.chmod(0o644)
        load(draft)
        return _publish(draft, folder, record)
    except OSError as error:
        raise _unwritten(folder, error) from error
    finally:
        draft.unlink(missing_ok=True)


def load(path: Path) -> Record:
    """Read a record and validate it.

    Raises:
        MeasurementError: It cannot be read, is of another schema, or does not fit this one.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MeasurementError(f"{path}: cannot be read as a record: {error}") from error
    _check_version(data, path)
    validate(data, str(path))
    rows = tuple(Row(**{**row, "trials": tuple(row["trials"])}) for row in data["rows"])
    ratios = tuple(Ratio(**ratio) for ratio in data["ratios"])
    left = {key: tuple(data[key]) for key in ("skipped", "dropped", "failed")}
    return Record(**{**data, **left, "rows": rows, "ratios": ratios})


def validate(data: Any, source: str) -> None:
    """Check a record's JSON against the schema.

    Raises:
        MeasurementError: It does not fit; the text names the place.
    """
    errors = sorted(_validator().iter_errors(data), key=lambda found: found.json_path)
    if errors:
        first = errors[0]
        raise MeasurementError(f"{source}: no valid record: {first.json_path}: {first.message}")


def git_id(checkout: Path) -> str:
    """The commit of the checkout, with `-dirty` where files differ; unknown outside of git."""
    if not (checkout / ".git").exists():
        return hosts.UNKNOWN
    # Root may measure in somebody else's checkout.
    git = ["git", "-c", f"safe.directory={checkout}", "-C", str(checkout)]
    words = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = shell.run([*git, *words], timeout_s=GIT_TIMEOUT_S, check=False)
    except HostError:
        return hosts.UNKNOWN
    return found.stdout.strip() or hosts.UNKNOWN


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    text = resources.files("orrery.measure").joinpath("record.schema.json").read_text("utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


def _check_version(data: Any, path: Path) -> None:
    """Say so where the record is one of another time."""
    version = data.get("schema") if isinstance(data, dict) else None
    if version is None or version == SCHEMA:
        return
    commit = str(data.get("git", hosts.UNKNOWN)).removesuffix("-dirty")
    read = "the version of orrery that wrote it"
    if commit != hosts.UNKNOWN:
        read = f"commit {commit[:12]}, which wrote it (git checkout)"
    raise MeasurementError(
        f"{path}: a record of schema {version}; schema {SCHEMA} is read here. "
        f"Measure again, or read it with {read}."
    )


def _unwritten(folder: Path, error: OSError) -> MeasurementError:
    if error.errno in FULL:
        return MeasurementError(
            f"{folder}: the disk is full, and the record is not written, not even in part. "
            f"See what takes the space (df -h {folder}), free some, and run the command again."
        )
    return MeasurementError(f"{folder}: cannot be written: {error.strerror}")


def _publish(draft: Path, folder: Path, record: Record) -> Path:
    """Give the draft the first free name; a link fails where a rename would replace."""
    moment = datetime.fromisoformat(record.started).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    number = 1
    while True:
        target = folder / f"{record.kind}-{moment}-{number}.json"
        try:
            target.hardlink_to(draft)
        except FileExistsError:
            number += 1
        else:
            return target
