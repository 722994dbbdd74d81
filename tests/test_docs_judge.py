"""The pictures of docs/judge.md are what its script draws with the judge as it is now."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = sorted(path.name for path in DOCS.glob("judge-*.svg"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_judge", DOCS / "draw_judge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_the_script_draws_to_the_byte(script: ModuleType, name: str) -> None:
    """Draw them anew with `python docs/draw_judge.py` after a change of the judge, and read the text beside them."""
    assert script.PICTURES[name]() == (DOCS / name).read_text(encoding="utf-8")


def test_every_picture_is_drawn_and_shown_once(script: ModuleType) -> None:
    shown = re.findall(r"\]\((judge-[\w-]+\.svg)\)", (DOCS / "judge.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(script.PICTURES) == PICTURES


@pytest.mark.parametrize("name", PICTURES)
def test_no_words_of_a_picture_lie_outside_of_it_or_on_each_other(name: str) -> None:
    """By a generous estimate of how wide letters are."""
    root = ElementTree.parse(DOCS / name).getroot()
    _, _, width, height = (float(number) for number in root.attrib["viewBox"].split())
    boxes = []
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        x, y, wide = float(text.attrib["x"]), float(text.attrib["y"]), 6.6 * len(text.text or "")
        left = x - wide * {"start": 0.0, "middle": 0.5, "end": 1.0}[text.attrib["text-anchor"]]
        boxes.append((left, y - 9.0, left + wide, y + 2.0, text.text))
    assert [box for box in boxes if min(box[:2]) < 0 or box[2] > width or box[3] > height] == []
    pairs = [(a, b) for n, a in enumerate(boxes) for b in boxes[:n]]
    assert [(a[4], b[4]) for a, b in pairs if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]] == []
