"""The record of a measurement: JSON with raw trials, validated when written and when read."""

from __future__ import annotations

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
from orrery.measure import stats
from orrery.measure.scenario import Scenario

SCHEMA = 1
CHECKOUT = Path(orrery.__file__).resolve().parents[2]
GIT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Row:
    """One figure of one scenario.

    Attributes:
        scenario: Derived name of the scenario.
        unit: `ms`, `1/s`, `MB`; empty for a ratio.
        trials: Raw values, in the order they were measured.
        reason: Why it is stable or not.
    """

    scenario: str
    metric: str
    unit: str
    trials: tuple[float, ...]
    median: float
    low: float
    high: float
    stable: bool
    reason: str = ""

    @classmethod
    def of(
        cls,
        scenario: Scenario | str,
        metric: str,
        unit: str,
        trials: Sequence[float],
        *,
        needed: int = stats.TRIALS_NEEDED,
    ) -> Row:
        """Compute the row from its trials.

        Raises:
            MeasurementError: There is no trial.
        """
        name = scenario if isinstance(scenario, str) else scenario.name
        found = stats.spread(trials, needed=needed)
        return cls(name, metric, unit, tuple(float(trial) for trial in trials), **asdict(found))


@dataclass(frozen=True)
class Record:
    """One measurement: what was asked, where, with what, and every trial.

    Attributes:
        scenario: Name and parameters.
        accel: What ran guests (kvm, tcg); none where no guest took part.
        started: UTC, ISO 8601.
        summary: The stable keys that `--json` repeats.
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
        rows = [{**asdict(row), "trials": list(row.trials)} for row in self.rows]
        return {
            "schema": self.schema,
            "kind": self.kind,
            "scenario": dict(self.scenario),
            "host": dict(self.host),
            "versions": dict(self.versions),
            "git": self.git,
            "accel": self.accel,
            "started": self.started,
            "rows": rows,
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
) -> Record:
    """A record with the git id and our versions filled in.

    `host` is what `host.describe` saw before the load began; it looks now where that is None.
    """
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
        raise MeasurementError(f"{folder}: cannot be written: {error.strerror}") from error
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
        raise MeasurementError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


def load(path: Path) -> Record:
    """Read a record and validate it.

    Raises:
        MeasurementError: It cannot be read, or does not fit the schema.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MeasurementError(f"{path}: cannot be read as a record: {error}") from error
    validate(data, str(path))
    rows = tuple(Row(**{**row, "trials": tuple(row["trials"])}) for row in data["rows"])
    return Record(**{**data, "rows": rows})


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
