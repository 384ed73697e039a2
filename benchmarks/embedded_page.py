"""What every method earned on the embedded task: picture, docs/choosing.md, a section of its own page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from embedded_cases import CASES, SMALLER, Case

from posttrain.report.svg import circle, drawing, line, tag, text

TITLE, OWN = "Measured on the embedded task", "On the embedded task"
STYLE = """
.m{font:12px sans-serif;fill:#1a1a1a}.s{font:11px sans-serif;fill:#666}.axis{stroke:#ddd}.zero{stroke:#888}
.yes{fill:#2a7f62;stroke:#2a7f62}.no{fill:#c2571a;stroke:#c2571a}.even{fill:#888;stroke:#888}line.yes,line.no,
line.even{stroke-width:2}@media (prefers-color-scheme:dark){.m{fill:#eee}.s{fill:#aaa}.axis{stroke:#444}}
"""
HEAD = """Every method through `posttrain run` on the [embedded world](field_guide.md): the same base, the
same comparisons, the same reward model for those that climb one. Gold is the truth of that world, read on
{prompts} held-out prompts, independent answers at temperature 1; the change is paired by prompt, with its
95 % interval. The instruction-tuned policy that all begin with has {sft:.1f} %. One seed ({seed}), so methods
a few points apart are not told apart. {sizes}
Made by `make bench` (`benchmarks/bench_embedded_methods.py`).

![Change of gold of every method, with intervals](embedded_methods.svg)

"""
COLUMNS = (
    "| method | gold, % | change, points | wins against SFT, % | KL, nats | words | seconds | settings |\n"
    "|---|--:|--:|--:|--:|--:|--:|---|\n"
)
Found = dict[str, dict[str, Any] | None]


def write(runs: Found, root: Path) -> None:
    """The picture and the sections. Raises SystemExit where nothing was measured."""
    if not any(runs.values()):
        raise SystemExit("nothing is measured yet, so there is no page")
    (root / "docs" / "embedded_methods.svg").write_text(picture(runs) + "\n", "utf-8")
    pages = {root / "docs" / "choosing.md": (TITLE, section(runs))}
    for name in {case.method for case, _ in ordered(runs)}:
        pages[root / "docs" / "methods" / f"{name}.md"] = (OWN, on_its_page(name, runs))
    for path, (title, body) in pages.items():
        path.write_text(with_section(path.read_text("utf-8"), title, body), "utf-8")


def with_section(page: str, title: str, body: str) -> str:
    """The page with this section in its old place, or at its end."""
    written = f"## {title}\n\n{body.strip()}\n"
    pattern = rf"(?ms)^## {re.escape(title)}\n.*?(?=^## |\Z)"
    if re.search(pattern, page):
        return re.sub(pattern, lambda _: f"{written}\n", page).rstrip() + "\n"
    return f"{page.rstrip()}\n\n{written}"


def verdict(run: dict[str, Any]) -> str:
    _, low, high = run["gold_change/final_vs_sft"]
    return "yes" if low > 0 else "no" if high < 0 else "even"


def ordered(runs: Found) -> list[tuple[Case, dict[str, Any]]]:
    """What was measured, the largest gain first."""
    rows = [(case, run) for case in CASES if (run := runs.get(case.title)) is not None]
    return sorted(rows, key=lambda pair: -pair[1]["gold_change/final_vs_sft"][0])


def section(runs: Found) -> str:
    rows = ordered(runs)
    some = rows[0][1]
    sizes = "Sizes are the recipe's."
    if not some["whole"]:
        sizes = f"Smaller than the recipe: {', '.join(f'`{size}`' for size in SMALLER)}."
    out = HEAD.format(
        prompts=some["prompts"],
        sft=100 * some["gold/sft"][0],
        seed=some["seed"],
        sizes=sizes,
    )
    out += COLUMNS + "".join(row(case, run) for case, run in rows)
    out += "\n" + costs(some)
    reasons = [reason(case, run) for case, run in rows if verdict(run) != "yes"]
    if reasons:
        out += "\n### Where gold did not rise, and why\n\n" + "".join(reasons)
    missing = [case.title for case in CASES if runs.get(case.title) is None]
    if missing:
        out += f"\nNot measured with this base model yet: {', '.join(missing)}.\n"
    return out


def row(case: Case, run: dict[str, Any]) -> str:
    change, low, high = (100 * x for x in run["gold_change/final_vs_sft"])
    settings = " ".join(f"`{setting}`" for setting in case.settings) or "its own"
    label = f", {case.label}" if case.label else ""
    return (
        f"| [{case.method}](methods/{case.method}.md){label} | {100 * run['gold/final'][0]:.1f} "
        f"| {signed(change)} [{signed(low)}, {signed(high)}] | {100 * run['win_rate/final_vs_sft'][0]:.1f} "
        f"| {run['kl'][0]:.2f} | {run['words'][1]:.1f} | {run['seconds']:.0f} | {settings} |\n"
    )


def signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def costs(run: dict[str, Any]) -> str:
    """What comes before a method, so that its seconds can be read."""
    threads = "one thread" if run["threads"] == 1 else f"{run['threads']} threads"
    return (
        f"Seconds are the method's own stage, on {threads}. Before it come instruction tuning, pairs and "
        f"labels, {run['seconds_before']:.0f} s, and for those that climb a reward its model, "
        f"{run['seconds_rm']:.0f} s. SFT's answers have {run['words'][0]:.1f} words.\n"
    )


def reason(case: Case, run: dict[str, Any]) -> str:
    what = "fell" if verdict(run) == "no" else "did not clearly change"
    gates = "`, `".join(run["failed_gates"])
    note = f" The run says so itself: gate `{gates}` failed." if gates else ""
    return f"- **{case.title}**: gold {what}: {case.fails or 'why is not known'}.{note}\n"


def on_its_page(name: str, runs: Found) -> str:
    """The section of a method's own page."""
    rows = [(case, run) for case, run in ordered(runs) if case.method == name]
    start = 100 * rows[0][1]["gold/sft"][0]
    out = f"Gold in % of what is attainable, {start:.1f} before; beside the other methods in "
    out += f"[Which method?](../choosing.md)\n\n{COLUMNS}"
    out += "".join(row(case, run).replace("(methods/", "(") for case, run in rows)
    notes = [f"- {case.title}: {case.because}.\n" for case, _ in rows if case.because]
    failed = [reason(case, run) for case, run in rows if verdict(run) != "yes"]
    return out + ("\n" if notes or failed else "") + "".join([*notes, *failed])


def picture(runs: Found) -> str:
    rows = ordered(runs)
    left, right, step = 300.0, 860.0, 19.0
    height = 64 + step * len(rows)
    spans = [run["gold_change/final_vs_sft"] for _, run in rows]
    least = min(-0.05, *(low for _, low, _ in spans))
    most = max(0.05, *(high for _, _, high in spans))

    def at(value: float) -> float:
        return left + (right - left) * (value - least) / (most - least)

    parts = [tag("style", STYLE), text(left, 16, "change of gold, points", class_="s")]
    for tenth in range(int(least * 10) - 1, int(most * 10) + 1):
        if least <= tenth / 10 <= most:
            x = at(tenth / 10)
            parts.append(line((x, 28), (x, height - 24), "axis" if tenth else "zero"))
            parts.append(text(x, height - 8, signed(10.0 * tenth), class_="s", text_anchor="middle"))
    for index, (case, run) in enumerate(rows):
        y, kind = 44 + step * index, verdict(run)
        change, low, high = run["gold_change/final_vs_sft"]
        parts.append(text(4, y + 4, case.title, class_="m"))
        parts.append(line((at(low), y), (at(high), y), kind))
        parts.append(circle(at(change), y, 4.5, kind, f"{100 * change:+.1f} points"))
    return drawing(900, height, parts, "Change of gold of every method on the embedded task")
