"""What surrounds training: the venv's recipe, the variables it follows, and the shipped card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from orrery import shell
from orrery.errors import ConfigurationError
from orrery.mnist import model, sources, train, train_venv
from orrery.mnist.data import Part
from tests.unit.mnist.conftest import ACTION

CARD = json.loads((ACTION / "model-card.json").read_text(encoding="utf-8"))


def test_the_card_describes_the_model_that_is_shipped() -> None:
    content = (ACTION / CARD["file"]).read_bytes()
    assert CARD["sha256"] == hashlib.sha256(content).hexdigest()
    assert CARD["parameters"] == model.PARAMETERS
    assert CARD["data"]["md5"] == {part.value.name: part.value.md5 for part in Part}
    assert CARD["accuracy"] >= 0.992


def test_the_shipped_model_was_trained_with_the_defaults() -> None:
    assert train.Settings(**CARD["training"]) == train.Settings()
    assert f"torch=={CARD['versions']['torch'].partition('+')[0]}" == train_venv.TORCH


def test_the_training_lock_is_complete_and_without_torch(checkout: Path) -> None:
    pins = train_venv.pins((checkout / train_venv.LOCK).read_text(encoding="utf-8"))
    names = {line.partition("==")[0] for line in pins.split("\n") if line}
    assert {"numpy", "onnx", "onnxruntime", "onnxscript"} <= names
    assert "torch" not in names


def test_pins_keep_versions_and_markers_and_drop_hashes() -> None:
    lock = 'a==1.0 \\\n    --hash=sha256:00\nb-c==2 ; python_version < "3.12" \\\n    --hash=x\n'
    assert train_venv.pins(lock) == 'a==1.0\nb-c==2 ; python_version < "3.12"\n'


def test_torch_comes_from_the_index_where_no_source_is_given() -> None:
    assert train_venv.torch_requirement(train_venv.Origin()) == "torch==2.13.0"


def test_a_wheel_of_torch_needs_its_checksum(tmp_path: Path) -> None:
    wheel = tmp_path / "torch.whl"
    wheel.write_bytes(b"wheel")
    right = hashlib.sha256(b"wheel").hexdigest()
    origin = train_venv.Origin(torch_source=str(wheel), torch_sha256=f"sha256:{right}")
    assert train_venv.torch_requirement(origin) == str(wheel)
    origin = train_venv.Origin(torch_source="https://mirror/torch.whl", torch_sha256=right)
    assert train_venv.torch_requirement(origin).endswith(f"torch.whl#sha256={right}")
    for checksum, message in (
        ("", "lab_torch_checksum has to hold the wheel's SHA-256"),
        ("0" * 64, f"lab_torch_source: SHA-256 {right} found, {'0' * 64} needed"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            train_venv.torch_requirement(train_venv.Origin(str(wheel), checksum))
    with pytest.raises(ConfigurationError, match="lab_torch_source: there is no /nowhere"):
        train_venv.torch_requirement(train_venv.Origin("/nowhere", right))


def test_the_origin_of_packages_becomes_options_of_pip() -> None:
    origin = train_venv.Origin(wheel_dir="/wheels", ca_bundle="/ca.pem", proxy="http://p:1")
    wanted = "--no-index --find-links /wheels --cert /ca.pem --proxy http://p:1"
    assert " ".join(origin.pip_options()) == wanted


def test_a_finished_venv_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def fake_run(argv: list[object], **_options: object) -> None:
        ran.append(" ".join(map(str, argv)))
        (tmp_path / "venv" / "bin").mkdir(parents=True, exist_ok=True)
        (tmp_path / "venv" / "bin" / "python").touch()

    monkeypatch.setattr(shell, "run", fake_run)
    (tmp_path / train_venv.LOCK).write_text("a==1 \\\n --hash=sha256:00\n", encoding="utf-8")
    for _ in range(2):
        train_venv.ensure(tmp_path / "venv", tmp_path, train_venv.Origin())
    assert len(ran) == 3
    assert "--require-hashes" in ran[1]
    assert ran[2].endswith("torch==2.13.0")
    (tmp_path / train_venv.LOCK).write_text("a==2 \\\n --hash=sha256:00\n", encoding="utf-8")
    train_venv.ensure(tmp_path / "venv", tmp_path, train_venv.Origin())
    assert len(ran) == 6


def test_variables_of_the_command_line_win(tmp_path: Path) -> None:
    common = tmp_path / "playbooks" / "group_vars" / "all"
    own = tmp_path / "inventory" / "group_vars" / "all"
    for folder, text in ((common, "mnist_source: [a, b]\nlab_ca_bundle: x"), (own, "lab_x: 1")):
        folder.mkdir(parents=True)
        (folder / "vars.yml").write_text(text, encoding="utf-8")
    (tmp_path / "more.yml").write_text("lab_http_proxy: http://p:1", encoding="utf-8")
    extra = [f"@{tmp_path / 'more.yml'}", "lab_ca_bundle=/ca.pem"]
    values = sources.variables(tmp_path, tmp_path / "inventory", extra)
    assert sources.mnist_sources(values) == ["a", "b"]
    assert sources.network(values).ca_bundle == "/ca.pem"
    assert sources.origin(values).proxy == "http://p:1"
    assert sources.mnist_sources({"mnist_source": "/data"}) == ["/data"]


def test_the_lab_names_a_source_of_mnist(checkout: Path) -> None:
    values = sources.variables(checkout, checkout / "inventory" / "local", [])
    assert sources.mnist_sources(values)
