"""The reference: its examples run and give what stands there, and no function is without one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from mcnet.activations import table
from mcnet.architectures import registry

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGES = sorted(FOLDER.glob("*.md"))
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
LONGER = "mcnet_analysis.plot"  # figures of long studies are in the gallery instead
CALLED = {"judged": "judge", "write": "report"}  # functions by their names in mcnet
_BLOCK = re.compile(r"```pycon\n(.*?)```", re.DOTALL)
_MODULE = re.compile(r"^::: (\S+)\n(?:    options:\n(?:      members: \[(.*?)\]\n)?)?", re.MULTILINE)


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder for runs; registries and printing as they were before."""
    monkeypatch.chdir(tmp_path)
    tables: list[dict[str, Any]] = [table._TABLE, registry._TABLE]
    before = [dict(each) for each in tables]
    with np.printoptions(), mpl.rc_context():
        yield
    for each, old in zip(tables, before, strict=True):
        each.clear()
        each.update(old)


def failures(page: str, name: str) -> str:
    """What differs from the page, as doctest tells it; "" if nothing does."""
    text = "\n".join(_BLOCK.findall(page))
    told: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(
        doctest.DocTestParser().get_doctest(text, {}, name, name, 0), out=told.append
    )
    return "".join(told)


def functions(page: str) -> list[str]:
    """Every function that a page documents, as it is called."""
    found = []
    for module, members in _MODULE.findall(page):
        home = importlib.import_module(module)
        own = [name for name, value in vars(home).items() if getattr(value, "__module__", "") == module]
        names = members.split(", ") if members else getattr(home, "__all__", own)
        if module == LONGER:
            continue
        found += [CALLED.get(name, name) for name in names if inspect.isfunction(getattr(home, name))]
    return [name for name in found if name[0] != "_"]


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_give_what_stands_there(page: Path) -> None:
    assert failures(page.read_text("utf-8"), page.stem) == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_function_has_an_example(page: Path) -> None:
    text = page.read_text("utf-8")
    examples = "\n".join(_BLOCK.findall(text))
    known = functions(text)
    assert known or page.stem == "analysis"
    assert [name for name in known if not re.search(rf"\b{name}\(", examples)] == []


def test_a_wrong_number_on_a_page_is_seen() -> None:
    page = (FOLDER / "signal.md").read_text("utf-8")
    few = page[: page.index(">>> round(mean_field.critical_point")] + "```\n"
    assert failures(few, "few") == ""
    assert "1.7609546" in failures(few.replace("\n1.7609546", "\n1.7609646"), "few")
