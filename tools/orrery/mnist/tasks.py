"""The tasks `./lab mnist.*`."""

from __future__ import annotations

import asyncio
import json as json_module
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from orrery import params, shell
from orrery.errors import ConfigurationError, TrainingError, UsageError
from orrery.lab.command import Lab, lab, lab_task, write_json

DEFAULT_EPOCHS = "10"
DEFAULT_SEED = "1"
TRAIN_TIMEOUT_S = 3600.0
OWN_DATA = Path(".lab") / "mnist"
VENV = Path(".lab") / "train-venv"


@lab_task
def classify(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    url: str = "",
    image: str = "",
) -> None:
    """Say which digit is on a picture (--url or --image FILE)."""
    from orrery.mnist import api

    if bool(url) == bool(image):
        raise UsageError("one of --url URL and --image FILE is needed")
    if url:
        sent = {"url": params.url("url", url)}
    else:
        sent = api.from_file(params.path("image", image, exists=True))
    answer = asyncio.run(_classify(lab(inventory, extra), sent))
    certain = answer.probabilities[answer.res]
    parts = ", ".join(
        f"{name.removesuffix('_ms')} {value:.1f} ms" for name, value in answer.measurement.items()
    )
    Console(highlight=False).print(f"{answer.res}  ({certain:.1%} certain; {parts})")
    write_json(json, answer.as_json())


@lab_task
def evaluate(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    inverted: bool = False,
    batch: str = "250",
    connections: str = "",
    count: str = "10000",
) -> None:
    """Classify the 10,000 test images through the API."""
    from orrery.measure import host, record
    from orrery.mnist import data, plot
    from orrery.mnist.evaluate import EvaluateScenario

    cores = len(os.sched_getaffinity(0))
    scenario = EvaluateScenario(
        inverted=inverted,
        count=params.integer("count", count, low=1, high=10_000),
        batch=params.integer("batch", batch, low=1, high=1000),
        connections=params.integer(
            "connections", connections or str(min(cores, 8)), low=1, high=64
        ),
    )
    this = lab(inventory, extra)
    examples = data.load(Path(str(this.fact("mnist_folder"))), train=False)
    seen, started = host.describe(), record.begin()
    found = asyncio.run(_evaluate(this, examples, scenario))
    summary = {
        "accuracy": found.accuracy,
        "count": found.count,
        "seconds": round(found.seconds, 3),
        "inverted": inverted,
        "confusion": found.confusion,
    }
    made = record.make(scenario, found.rows(scenario), summary, started=started, host=seen)
    path = record.save(made, this.settings.records)
    picture = path.with_suffix(".png")
    title = f"{found.right} of {found.count} {'inverted ' * inverted}right ({found.accuracy:.2%})"
    plot.confusion(found, title, picture)
    console = Console(highlight=False)
    console.print(_recall_table(found))
    console.print(f"{title} in {found.seconds:.1f} s; confusion matrix: {picture}", soft_wrap=True)
    write_json(json, {**summary, "record": str(path), "picture": str(picture)})


@lab_task
def latency(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    url: str = "",
    calls: str = "100",
    trials: str = "5",
) -> None:
    """Measure how long one picture takes, warm and cold."""
    from orrery.measure import host, record, show
    from orrery.mnist.latency import LatencyScenario

    scenario = LatencyScenario(
        calls=params.integer("calls", calls, low=1, high=100_000),
        trials=params.integer("trials", trials, low=1, high=1000),
    )
    this = lab(inventory, extra)
    picture = params.url("url", url) if url else f"{this.files_url}/mnist/digits/7.png"
    seen, started = host.describe(), record.begin()
    found = asyncio.run(_latency(this, picture, scenario))
    summary = found.summary()
    made = record.make(scenario, found.rows(scenario), summary, started=started, host=seen)
    path = record.save(made, this.settings.records)
    show.show(made)
    write_json(json, {**summary, "record": str(path)})


@lab_task
def train(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    data: str = "",
    output: str = ".lab/model",
    epochs: str = DEFAULT_EPOCHS,
    seed: str = DEFAULT_SEED,
    threads: str = "1",
) -> None:
    """Train LeNet-5 and export it, in a venv of its own."""
    from orrery.mnist import sources, train_venv
    from orrery.mnist.data import ensure

    options = {
        "epochs": params.integer("epochs", epochs, low=1, high=1000),
        "seed": params.integer("seed", seed, low=0, high=2**31),
        "threads": params.integer("threads", threads, low=1, high=256),
    }
    settings = lab(inventory, extra).settings
    target = params.path("output", output)
    values = sources.variables(settings.checkout, settings.inventory, settings.extra)
    console = Console(highlight=False)
    folder = settings.checkout / OWN_DATA
    wanted = [data] if data else sources.mnist_sources(values)
    ensure(wanted, folder, network=sources.network(values), say=console.print)
    console.print("training venv: checked, or made (a few minutes and about 1 GB at first)")
    venv = settings.checkout / VENV
    python = train_venv.ensure(venv, settings.checkout, sources.origin(values))
    argv = [str(python), "-m", "orrery.mnist.train", "--data", str(folder), "--output", str(target)]
    for name, value in options.items():
        argv += [f"--{name}", str(value)]
    env = {"PYTHONPATH": str(settings.checkout / "tools")}
    code = shell.stream(argv, timeout_s=TRAIN_TIMEOUT_S, env=env)
    if code != 0:
        raise TrainingError(f"training failed with exit code {code}; see above")
    card = _read_card(target / "model-card.json")
    summary = {key: card[key] for key in ("accuracy", "sha256", "training_seconds")}
    write_json(json, {**summary, "model": str(target / card["file"]), "record": str(target)})


def _connection(this: Lab) -> dict[str, Any]:
    return {"apihost": this.api_url, "auth": this.credentials()}


async def _classify(this: Lab, sent: dict[str, str]) -> Any:
    from orrery.mnist import api
    from orrery.whisk.client import WhiskClient

    async with WhiskClient(**_connection(this)) as client:
        return await api.classify(client, sent)


async def _evaluate(this: Lab, examples: Any, scenario: Any) -> Any:
    from orrery.mnist.evaluate import evaluate as run
    from orrery.whisk.client import WhiskClient

    async with WhiskClient(**_connection(this)) as client:
        with _progress() as progress:
            bar = progress.add_task("test images", total=scenario.count)
            return await run(client, examples, scenario, lambda n: progress.advance(bar, n))


async def _latency(this: Lab, url: str, scenario: Any) -> Any:
    from orrery.mnist.latency import measure
    from orrery.whisk.client import WhiskClient

    async with WhiskClient(**_connection(this)) as client:
        with _progress() as progress:
            bar = progress.add_task("trials", total=scenario.trials)
            return await measure(client, url, scenario, lambda n: progress.advance(bar, n))


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), transient=True)


def _recall_table(found: Any) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("digit", "images", "right", "share"):
        table.add_column(heading, justify="right")
    for digit, row in enumerate(found.confusion):
        table.add_row(str(digit), str(sum(row)), str(row[digit]), f"{found.recall(digit):.2%}")
    return table


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json_module.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: no model card: {error}") from error
    return dict(card)
