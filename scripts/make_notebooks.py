"""Build the notebooks of docs/notebooks from their plain Python sources, and run them.

    python scripts/make_notebooks.py                # each is run from scratch in an empty directory
    python scripts/make_notebooks.py --check        # whether each is what its source makes; runs nothing
    python scripts/make_notebooks.py cartpole --keep DIR    # one, in a directory that keeps its workspace

In a source a line ``# %%`` begins a cell of code, ``# %% [markdown]`` one of text, each of whose lines is a
comment, and ``# %% file=NAME`` one that writes its code to a file beside the notebook. Text before the first
such line is for those who read the source.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "notebooks"
LARGEST = 300_000  # bytes of a notebook with its outputs
MARK = re.compile(r"^# %%(?: (\[markdown\]|file=\S+))?$", re.MULTILINE)
LIMIT = 1800  # seconds for a cell, on a busy machine
NO_WIDGETS = "ignore:IProgress not found"  # bars are drawn as text without ipywidgets, or not at all
Notebook = dict[str, Any]


def cells(source: str) -> list[tuple[str, str]]:
    """Kind (``code`` or ``markdown``) and text of every cell. Raises ValueError for a line of a text cell
    that is no comment.
    """
    _, *parts = MARK.split(source)
    pairs = []
    for mark, text in zip(parts[::2], parts[1::2], strict=True):
        body = text.strip("\n")
        if mark == "[markdown]":
            lines = body.splitlines()
            if wrong := [line for line in lines if not re.match(r"#( |$)", line)]:
                raise ValueError(f"{wrong[0]!r}: expected '# ' before every line of a text cell")
            pairs.append(("markdown", "\n".join(line[2:] for line in lines)))
        elif mark:
            pairs.append(("code", f"%%writefile {mark.partition('=')[2]}\n{body}"))
        else:
            pairs.append(("code", body))
    return pairs


def made(path: Path) -> Notebook:
    """The notebook of a source, without outputs, in nbformat 4.5."""
    listed: list[Notebook] = []
    for number, (kind, text) in enumerate(cells(path.read_text("utf-8")), start=1):
        cell: Notebook = {
            "cell_type": kind,
            "id": f"cell-{number}",
            "metadata": {},
            "source": text.splitlines(keepends=True),
        }
        listed.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": listed, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def without_outputs(notebook: Notebook) -> Notebook:
    """The same before it was run."""
    emptied = {"execution_count": None, "outputs": []}
    listed = [cell | emptied if cell["cell_type"] == "code" else cell for cell in notebook["cells"]]
    return notebook | {"cells": listed}


def executed(notebook: Notebook, directory: Path) -> Notebook:
    """The notebook with the outputs of a run in ``directory`` by this Python and this checkout. Raises
    nbclient's CellExecutionError where a cell fails, ValueError where an output holds a path of this machine.
    """
    import nbformat
    from nbclient import NotebookClient

    node = nbformat.reads(json.dumps(notebook), as_version=4)
    nbformat.validate(node)
    where = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": where, "PYTHONWARNINGS": NO_WIDGETS}
    client = NotebookClient(
        node,
        timeout=LIMIT,
        record_timing=False,
        coalesce_streams=True,  # in how many pieces a cell's text arrives is chance
        resources={"metadata": {"path": str(directory)}},
    )
    client.execute(env=environment)
    document: Notebook = json.loads(nbformat.writes(node))
    document["metadata"] = notebook["metadata"]  # not the versions of this machine
    for path in (str(directory), str(ROOT), str(Path.home()) + os.sep, sys.prefix):
        for output in (one for cell in document["cells"] for one in cell.get("outputs", [])):
            if path in (text := "".join(output.get("text", []))):
                raise ValueError(f"an output holds {path}, a path of this machine: {text}")
    return document


def read(path: Path) -> Notebook:
    """A notebook as it is on disk."""
    return json.loads(path.read_text("utf-8"))  # type: ignore[no-any-return]


def write(path: Path, notebook: Notebook) -> None:
    """Raises ValueError for one that is too large to be kept."""
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    if len(text.encode()) > LARGEST:
        raise ValueError(f"{path.name}: {len(text.encode())} bytes, expected {LARGEST} at most")
    path.write_text(text, "utf-8")


def sources(names: list[str]) -> list[Path]:
    """The sources of that name, or all. Raises SystemExit for a name that there is none of."""
    paths = sorted(FOLDER.glob("*.py"))
    by_name = {path.stem: path for path in paths}
    if unknown := [name for name in names if name not in by_name]:
        raise SystemExit(f"{unknown[0]}: no such notebook; there is: {', '.join(by_name)}")
    return [by_name[name] for name in names] or paths


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true", help="run nothing")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="run there; what is made already stays made")
    options = parser.parse_args()
    for source in sources(options.names):
        target, notebook = source.with_suffix(".ipynb"), made(source)
        if options.check:
            if not target.exists() or without_outputs(read(target)) != notebook:
                raise SystemExit(
                    f"{target.name}: not what {source.name} makes; run scripts/make_notebooks.py"
                )
            continue
        with tempfile.TemporaryDirectory() as scratch:
            where = options.keep or Path(scratch)
            where.mkdir(parents=True, exist_ok=True)
            write(target, executed(notebook, where.resolve()))
        print(f"{target.name}: {target.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
