"""What the pages promise is there: every test that docs/pitfalls.md names, every page in the menu, and what
README types and draws."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from posttrain.cli import main, recipes

ROOT = Path(__file__).resolve().parent.parent


def test_every_pitfall_names_a_test_that_exists() -> None:
    rows = [
        line for line in (ROOT / "docs" / "pitfalls.md").read_text("utf-8").splitlines() if line[:2] == "| "
    ]
    assert len(rows) > 30
    for row in rows[1:]:
        bug, file, found = row.split("|")[1].strip(), "", 0
        for text in re.findall(r"`(tests/[\w/.]+::\w+|::\w+)`", row):
            file = text.partition("::")[0] or file
            name = text.partition("::")[2]
            assert re.search(rf"^def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), (
                f"{bug}: {text}"
            )
            found += 1
        assert found, f"{bug}: no test"


def pages(menu: Any) -> list[str]:
    """The files that a menu leads to."""
    if isinstance(menu, str):
        return [menu]
    inner = menu.values() if isinstance(menu, dict) else menu
    return [page for item in inner for page in pages(item)]


def test_every_page_is_in_the_menu_once_and_every_entry_is_a_page() -> None:
    told = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    docs = ROOT / "docs"
    assert sorted(told) == sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))


def test_links_between_pages_lead_somewhere() -> None:
    for path in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)}: {target}"


def test_the_site_asks_no_other_host_for_fonts() -> None:
    assert yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["theme"]["font"] is False
