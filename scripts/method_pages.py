"""Write docs/methods/NAME.md of every method from its file and from what the bench measured.

    python scripts/method_pages.py

The formula, the paper, the settings and "What it converges to" are taken from the code and from
benchmarks/results/convergence.json. Every other section of a page is kept as somebody wrote it.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from posttrain.settings.listing import as_typed  # noqa: E402
from posttrain.settings.sentences import field_sentences  # noqa: E402

FOLDERS = {
    "policy_gradients": "rl.method",
    "direct_alignment": "alignment.method",
    "reward_losses": "rm.method",
}
MEASURED = "What it converges to"


def methods() -> list[tuple[str, str, Any, Any]]:
    """Folder, name, module and class of each."""
    rows = []
    for folder in FOLDERS:
        for path in sorted((ROOT / "posttrain" / folder).glob("[!_]*.py")):
            if path.stem == "base":  # what the methods share
                continue
            module = importlib.import_module(f"posttrain.{folder}.{path.stem}")
            plain = path.stem.replace("_", "")
            kind = next(
                c
                for n, c in vars(module).items()
                if n.lower() == plain and dataclasses.is_dataclass(c) and c.__module__ == module.__name__
            )
            rows.append((folder, path.stem, module, kind))
    return rows


def prose(docstring: str) -> str:
    """A docstring as Markdown: paragraphs that begin with code are formulas."""
    out = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        if paragraph.startswith("``") and "=" in paragraph:
            lines = paragraph.replace("``", "").splitlines()
            out.append("\n".join(f"    {line}" for line in lines))
        else:
            out.append(paragraph.replace("``", "`"))
    return "\n\n".join(out)


def settings(kind: Any) -> str:
    """Every field as it is written on the command line, with its sentence."""
    lines, sentences = [], field_sentences(kind)
    for item in dataclasses.fields(kind):
        if item.default is not dataclasses.MISSING:
            default: Any = item.default
        else:
            factory = item.default_factory
            default = None if factory is dataclasses.MISSING else factory()
        sentence = sentences[item.name].replace("``", "`")
        lines.append(f"- `{item.name}={as_typed(default)}`: {sentence}")
    return "\n".join(lines)


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def measured(name: str, result: dict[str, Any]) -> str:
    """The table of one method."""
    runs = [run for run in result["runs"] if run["method"] == name]
    if not runs:
        return "Not measured yet."
    beta = result["world"]["beta"]
    if "reward_error" in runs[0]:
        head = "| settings | largest error | KL(π ‖ π*) in nats | why not zero |\n|---|--:|--:|---|\n"
        figures = [(number(r["reward_error"]), number(r.get("kl_to_optimum"))) for r in runs]
        rows = [
            f"| {r['label']} | {error} | {kl} | {r['reason']} |"
            for r, (error, kl) in zip(runs, figures, strict=True)
        ]
    else:
        has_optimum = any(r["kl_to_own_optimum"] is not None for r in runs)
        head = "| settings | KL(π ‖ π*) in nats |" + (" KL to its own optimum |" if has_optimum else "")
        head += " reward | why not zero |\n|---|--:|" + ("--:|" if has_optimum else "") + "--:|---|\n"
        rows = [
            f"| {r['label']} | {number(r['kl_to_optimum'])} |"
            + (f" {number(r['kl_to_own_optimum'])} |" if has_optimum else "")
            + f" {number(r['reward'])} | {r['reason']} |"
            for r in runs
        ]
    start, best = result["world"]["reference"], result["world"]["optimum"]
    return (
        f"In the [enumerable world](../convergence.md) with β = {beta}; the reference starts "
        f"{start['kl_to_optimum']:.4f} nats from π* and earns {start['reward']:.4f}, π* earns "
        f"{best['reward']:.4f}.\n\n{head}" + "\n".join(rows)
    )


def sections(text: str) -> dict[str, str]:
    """Headed sections of a page by their heading."""
    parts = re.split(r"(?m)^## (.+)\n", text)
    return {title: body.strip() for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def page(folder: str, name: str, module: Any, kind: Any, old: str, result: dict[str, Any]) -> str:
    where = FOLDERS[folder]
    rest = {title: body for title, body in sections(old).items() if title not in (MEASURED, "Settings")}
    first = (module.__doc__ or "").strip().splitlines()[0]
    out = [f"# {kind.__name__}", first, prose(kind.__doc__ or ""), "## Settings"]
    fields = settings(kind)
    out.append(f"`{where}={name}`" + (f", and `{where}.FIELD=VALUE` for:\n\n{fields}" if fields else "."))
    out.append(f"## When to use it\n\n{rest.pop('When to use it', 'Nobody has said yet.')}")
    out.append(f"## {MEASURED}\n\n{measured(name, result)}")
    out += [f"## {title}\n\n{body}" for title, body in rest.items()]
    return "\n\n".join(out) + "\n"


def main() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "convergence.json").read_text())
    folder_of_pages = ROOT / "docs" / "methods"
    for folder, name, module, kind in methods():
        path = folder_of_pages / f"{name}.md"
        old = path.read_text() if path.exists() else ""
        path.write_text(page(folder, name, module, kind, old, result))


if __name__ == "__main__":
    main()
