"""Generation: the built-in engine beside ``transformers.generate`` on the same prompts, lengths and weights.

    python benchmarks/bench_generation.py [--model DIR] [--prompts 8] [--samples 4] [--tokens 64] [--rounds 5]

A and B take turns in one process; the figure is the ratio of the medians of tokens per second. Neither may
stop early (no stop token), so both make exactly prompts x samples x tokens. Writes
benchmarks/results/generation.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from posttrain.engines.builtin import BuiltinEngine
from posttrain.engines.protocol import Sampling
from posttrain.models.loading import load_causal_lm

ROOT = Path(__file__).resolve().parent.parent
BASE = ROOT / "posttrain" / "field_guide" / "base"


def ours(engine: BuiltinEngine, prompts: list[list[int]], samples: int, tokens: int) -> int:
    sampling = Sampling(temperature=1.0, max_tokens=tokens)
    for number, prompt in enumerate(prompts):
        for sample in range(samples):
            engine.submit(prompt, sampling, number * samples + sample)
    return sum(len(done.tokens) for done in engine.finished())


def theirs(model: torch.nn.Module, prompts: list[list[int]], samples: int, tokens: int) -> int:
    ids = torch.tensor(prompts)
    with torch.no_grad():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            num_return_sequences=samples,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            pad_token_id=0,
        )
    return int((out.shape[1] - ids.shape[1]) * out.shape[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(BASE))
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    ask = parser.parse_args()
    model, _ = load_causal_lm(ask.model)
    model.eval()
    engine = BuiltinEngine(model)
    generator = torch.Generator().manual_seed(0)
    vocabulary = model.config.vocab_size
    prompts = torch.randint(10, vocabulary, (ask.prompts, 16), generator=generator).tolist()
    rates: dict[str, list[float]] = {"builtin": [], "transformers.generate": []}
    for turn in range(ask.rounds + 1):  # the first warms both up
        for name, call in (
            ("builtin", lambda: ours(engine, prompts, ask.samples, ask.tokens)),
            ("transformers.generate", lambda: theirs(model, prompts, ask.samples, ask.tokens)),
        ):
            started = time.perf_counter()
            made = call()
            if made != ask.prompts * ask.samples * ask.tokens:
                raise SystemExit(f"{name} made {made} tokens: not the same work")
            if turn:
                rates[name].append(made / (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    result = {
        "model": Path(ask.model).name,
        "work": f"{ask.prompts} prompts x {ask.samples} samples x {ask.tokens} tokens, fp32",
        "tokens_per_second": rates,
        "ratio": medians["builtin"] / medians["transformers.generate"],
        "threads": torch.get_num_threads(),
    }
    where = ROOT / "benchmarks" / "results"
    where.mkdir(exist_ok=True)
    (where / "generation.json").write_text(json.dumps(result, indent=1) + "\n")
    for name, value in medians.items():
        print(f"{name:24s} {value:9.0f} tokens/s")
    print(f"ratio {result['ratio']:.2f}")


if __name__ == "__main__":
    main()
