"""The notebooks of docs/notebooks are what their sources make, carry their outputs, and run from scratch."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAKE = runpy.run_path(str(ROOT / "scripts" / "make_notebooks.py"), run_name="tests")
SOURCES: list[Path] = MAKE["sources"]([])
each = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def committed(source: Path) -> dict[str, Any]:
    return json.loads(source.with_suffix(".ipynb").read_text("utf-8"))  # type: ignore[no-any-return]


@each
def test_it_is_what_its_source_makes(source: Path) -> None:
    assert MAKE["without_outputs"](committed(source)) == MAKE["made"](source), "run scripts/make_notebooks.py"


@each
def test_it_carries_the_outputs_of_one_run_without_an_error(source: Path) -> None:
    code = [cell for cell in committed(source)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    told = "".join("".join(output.get("text", [])) for output in outputs)
    assert told
    assert not re.search(r"/(home|root|tmp|Users|var|work)/", told)
    assert not re.search(r"\b\d[\d.]* (s|ms|min|seconds|minutes)\b", told), (
        "how long it took there is no claim"
    )
    assert source.with_suffix(".ipynb").stat().st_size <= MAKE["LARGEST"]


def test_every_source_has_a_notebook_and_every_page_leads_there() -> None:
    folder = MAKE["FOLDER"]
    assert [path.with_suffix(".ipynb") for path in SOURCES] == sorted(folder.glob("*.ipynb"))
    page = (ROOT / "docs" / "notebooks.md").read_text("utf-8")
    for path in SOURCES:
        assert f"(notebooks/{path.stem}.ipynb)" in page
    assert "(notebooks.md)" in (ROOT / "docs" / "index.md").read_text("utf-8")
    assert "(docs/notebooks.md)" in (ROOT / "README.md").read_text("utf-8")


@each
def test_its_links_lead_somewhere(source: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", source.read_text("utf-8")):
        assert (source.parent / target).exists(), target


def test_what_runs_them_is_for_tests_and_readers_alone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {"nbformat", "nbclient", "ipykernel", "matplotlib"}
    assert needed <= set(project["optional-dependencies"]["test"])
    assert needed <= set(project["optional-dependencies"]["notebooks"])
    assert not needed & set(project["dependencies"])


def test_a_source_becomes_cells_of_text_code_and_files() -> None:
    source = (
        '"""Left out."""\n\n# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\nx = 1\n\n# %% file=a.py\ny = 2\n'
    )
    assert MAKE["cells"](source) == [
        ("markdown", "# Title\n\nText."),
        ("code", "x = 1"),
        ("code", "%%writefile a.py\ny = 2"),
    ]
    with pytest.raises(ValueError, match=r"'x = 1': expected '# '"):
        MAKE["cells"]("# %% [markdown]\n# Title\nx = 1\n")


def test_one_that_is_too_large_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 300000 at most"):
        MAKE["write"](tmp_path / "a.ipynb", {"cells": ["x" * 300_000]})
    assert not list(tmp_path.iterdir())


def notebook(tmp_path: Path, code: str) -> dict[str, Any]:
    (tmp_path / "a.py").write_text(f"# %%\n{code}\n")
    return MAKE["made"](tmp_path / "a.py")  # type: ignore[no-any-return]


@pytest.mark.slow
def test_a_cell_that_fails_or_tells_a_path_stops_it(tmp_path: Path) -> None:
    from nbclient.exceptions import CellExecutionError

    with pytest.raises(CellExecutionError, match="division by zero"):
        MAKE["executed"](notebook(tmp_path, "1 / 0"), tmp_path)
    with pytest.raises(ValueError, match="a path of this machine"):
        MAKE["executed"](notebook(tmp_path, "import os; print(os.getcwd())"), tmp_path)


@each
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_it_runs_from_scratch(source: Path, tmp_path: Path) -> None:
    made = MAKE["executed"](MAKE["made"](source), tmp_path)
    assert MAKE["without_outputs"](made) == MAKE["made"](source)
    kinds = [[output["output_type"] for output in cell.get("outputs", [])] for cell in made["cells"]]
    then = [
        [output["output_type"] for output in cell.get("outputs", [])] for cell in committed(source)["cells"]
    ]
    assert kinds == then
