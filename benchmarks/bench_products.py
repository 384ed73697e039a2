"""Training in bfloat16 as a share of what the machine's products could do.

    python benchmarks/bench_products.py [--model DIR|smollm2] [--tokens 2048] [--rounds 3] [--threads 1]
        [--clock cpu]

A forward and a backward pass over rows of 256 tokens of which all but the first are learned from, trunk in
bfloat16, head in float32. Its operations, 6 a weight and token, per second, over those of a large bfloat16
product measured in turn with it. Writes benchmarks/results/products-MODEL.json.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from turns import BASE, CLOCKS, keep, model_directory

from posttrain.core.batch import Wants
from posttrain.models.collate import rollouts
from posttrain.models.roles import ModelPlacement, open_policy
from posttrain.storage.token_rows import TokenRow

LENGTH, SIDE = 256, 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(BASE))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", default="wall", choices=list(CLOCKS))
    for name, size in (("tokens", 2048), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=size)
    ask = parser.parse_args()
    torch.set_num_threads(ask.threads)
    clock, model = CLOCKS[ask.clock], model_directory(ask.model)
    policy = open_policy(model, placement=ModelPlacement(compute="bfloat16")).policy
    head = policy.policy.head.weight
    matrices = {id(p): p for p in policy.parameters_of("policy") if p.dim() == 2}
    embedded = policy.policy.trunk.get_input_embeddings().weight
    weights = sum(p.numel() for p in matrices.values() if p is head or p is not embedded)
    draw = torch.Generator().manual_seed(0)
    words = torch.randint(20, len(embedded), (ask.tokens // LENGTH, LENGTH), generator=draw).tolist()
    batch = rollouts([TokenRow(ids=ids, mask=[False] + [True] * (LENGTH - 1)) for ids in words], 0)
    a, b = (torch.randn(SIDE, SIDE, dtype=torch.bfloat16) for _ in range(2))
    seconds: dict[str, list[float]] = {"update": [], "product": []}
    for turn in range(ask.rounds + 1):  # the first warms both up
        started = clock()
        policy.evaluate(batch, Wants(before=False, entropy=False)).logprobs.sum().backward()
        middle = clock()
        for _ in range(4):
            a @ b
            torch.nn.functional.linear(a, b)
        if turn:
            seconds["update"].append(middle - started)
            seconds["product"].append((clock() - middle) / 8)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    done = 6 * weights * ask.tokens / medians["update"]
    most = 2 * SIDE**3 / medians["product"]
    result = {"tokens": ask.tokens, "flops": done, "limit": most, "share": done / most}
    keep(
        f"products-{Path(model).name}.json", "training", result | {"threads": ask.threads, "clock": ask.clock}
    )
    print(f"{done / 1e9:.0f} of {most / 1e9:.0f} GFLOP/s: {done / most:.0%} of the limit")


if __name__ == "__main__":
    main()
