"""docs/architecture.svg is what the imports say, and docs/architecture.md has a sentence for each folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

from scripts.draw_floors import DRAWING, drawing, folder_imports, needed
from scripts.floors import FLOORS, folder, graph, modules

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = folder_imports(graph(ROOT))


def test_the_committed_drawing_is_what_the_imports_say() -> None:
    assert DRAWING.read_text("utf-8") == drawing(FOLDERS), "run python scripts/draw_floors.py"


def test_a_new_import_changes_the_drawing(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "posttrain", tmp_path / "posttrain", ignore=shutil.ignore_patterns("base", "*.so"))
    path = tmp_path / "posttrain" / "settings" / "listing.py"
    path.write_text(path.read_text() + "\nimport posttrain.sandbox.tiers\n")
    folders = folder_imports(graph(tmp_path))
    assert "sandbox" in folders["settings"]
    assert "<title>settings imports sandbox</title>" in drawing(folders)


def test_the_drawing_has_every_folder_and_no_line_that_others_imply() -> None:
    root = ElementTree.fromstring(drawing(FOLDERS))
    titles = [title.text or "" for title in root.iter("{http://www.w3.org/2000/svg}title")]
    for name in {folder(module) for module in modules(ROOT)} - {""}:
        assert sum(title.startswith(f"{name} imports ") for title in titles) == 1 + len(needed(FOLDERS)[name])
    assert needed({"stages": {"checks", "core"}, "checks": {"core"}, "core": set()}) == {
        "stages": ["checks"],
        "checks": ["core"],
        "core": [],
    }


def test_every_line_of_the_drawing_goes_down() -> None:
    for path in ElementTree.fromstring(drawing(FOLDERS)).iter("{http://www.w3.org/2000/svg}path"):
        if path.get("class") == "line":
            heights = [int(y) for y in re.findall(r"[ V](\d+)(?=[CV]|$)", path.get("d") or "")]
            assert heights == sorted(heights)
            assert len(heights) > 1


def test_each_folder_stands_on_the_page_once_on_its_floor_with_one_sentence() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| (\d+) \| `(\w+)` \| (.+) \|$", page)
    assert sorted((name, int(floor)) for floor, name, _ in rows) == sorted(
        (name, FLOORS[name]) for name in FOLDERS
    )
    for _, name, sentence in rows:
        assert re.fullmatch(r"[A-Z`][^|]*[^.]\.", sentence), name
        assert ". " not in sentence, name
