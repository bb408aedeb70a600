"""The picture in the README is what its source makes."""

from __future__ import annotations

from types import ModuleType
from xml.etree import ElementTree

import pytest

from tests.unit.docs import pictures
from tests.unit.docs.pictures import SVG


@pytest.fixture(scope="module")
def architecture() -> ModuleType:
    return pictures.script("architecture")


def test_the_committed_picture_is_what_the_source_makes(architecture: ModuleType) -> None:
    committed = (pictures.FOLDER / "architecture.svg").read_text(encoding="utf-8")
    drawn = architecture.PICTURE.svg()
    assert committed == drawn, "run: .venv/bin/python docs/img/architecture.py"


def test_the_picture_is_well_formed_and_described(architecture: ModuleType) -> None:
    root = ElementTree.fromstring(architecture.PICTURE.svg())
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert title.text == architecture.PICTURE.title
    assert description is not None
    assert description.text == architecture.PICTURE.description


def test_no_text_is_wider_than_its_box(architecture: ModuleType) -> None:
    assert pictures.too_wide(architecture.PICTURE) == []


def test_both_schemes_have_enough_contrast() -> None:
    drawing = pictures.script("drawing")
    for colours in (drawing.LIGHT, drawing.DARK):
        for text, ground in (("text", "box"), ("quiet", "frame"), ("accent", "network")):
            ratio = pictures.contrast(colours[text], colours[ground])
            assert ratio >= 4.5, (text, ground, colours)
