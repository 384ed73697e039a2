"""Memory against length, and against the number of rows on disk.

    python benchmarks/bench_length.py [--model DIR|smollm2]

``length``: the most memory that two updates on four answers need, of 30 tokens and doubled from there, each
in a process of its own, less what is resident before the model is made; beside it what the logits of all
answers alone would take. ``rows``: the same for two steps of instruction tuning from a file of 2,000 rows and
of ten times as many. ``comparisons`` of reward modeling and of DPO, and ``prompts`` of GRPO: the same for the
whole stage, which stops learning after two updates but reads and measures all rows, a tenth of them held out.
Each is the median of three processes.
Writes benchmarks/results/length-MODEL.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from training_work import RATE
from transformers import AutoConfig
from turns import BASE, keep, model_directory, peak_bytes, resident_bytes

from posttrain.core.preferences import wanted
from posttrain.direct_alignment.sft import SFT
from posttrain.models.chat import Chat
from posttrain.models.collate import rollouts
from posttrain.models.roles import open_policy
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine, Product
from posttrain.policy_gradients.grpo import GRPO
from posttrain.rewards.length import Length
from posttrain.stages.alignment import Alignment
from posttrain.stages.base import ExistingModel
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import examples
from posttrain.storage.jsonl import stream_jsonl
from posttrain.storage.token_rows import TokenRow, TokenRowStore
from posttrain.training.fit import Epochs, FitState, fit
from posttrain.training.optimizer import Group, Optimizer

ROWS, PROMPT, STEPS = 4, 16, 2
LENGTHS = (30, 60, 120, 240)
RECORDS = (2000, 20000)
TIMES = 3  # of which the median counts: one process needs a tenth more or less than the next


def _updates(model: str, rows_of: Callable[[Chat], Sequence[TokenRow]]) -> int:
    """Bytes that ``STEPS`` updates on ``ROWS`` rows need, with the reading of the rows."""
    before = resident_bytes()
    roles = open_policy(model)
    chat, policy, method = Chat(roles.tokenizer), roles.policy, SFT()
    rows = rows_of(chat)
    group = Group(name="policy", parameters=policy.parameters_of("policy"), learning_rate=RATE)
    for _ in fit(
        FitState(),
        lambda past: policy.evaluate(past.rollouts, method.wants),
        method,
        lambda step: wanted(rollouts(rows[step * ROWS : (step + 1) * ROWS], chat.pad_id)),
        Optimizer([group]),
        steps=STEPS,
    ):
        pass
    return peak_bytes() - before


def of_length(model: str, length: int) -> int:
    g = torch.Generator().manual_seed(0)
    words = torch.randint(20, 1000, (ROWS * STEPS, PROMPT + length), generator=g).tolist()
    mask = [False] * PROMPT + [True] * length
    return _updates(model, lambda chat: [TokenRow(ids=ids, mask=mask) for ids in words])


def _said(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def _demonstrations(count: int) -> Iterator[dict[str, Any]]:
    for i in range(count):
        asked = _said("user", f"What is {i} and {i * 7}?")
        yield {"messages": asked + _said("assistant", f"It is {i} and then {i * 7}. " * 4)}


def _comparisons(count: int) -> Iterator[dict[str, Any]]:
    for i, row in enumerate(_demonstrations(count)):
        asked, answer = row["messages"]
        fields = {"id": f"row-{i}", "prompt": [asked], "chosen": [answer]}
        yield fields | {"rejected": _said("assistant", f"It is {i + 1}, or else {i * 7}. " * 3)}


def _written(path: Path, rows: Iterator[dict[str, Any]]) -> Path:
    with path.open("w") as sink:
        sink.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def of_records(model: str, count: int) -> int:
    with tempfile.TemporaryDirectory() as where:
        path = _written(Path(where) / "rows.jsonl", _demonstrations(count))

        def read(chat: Chat) -> TokenRowStore:
            rows = TokenRowStore(path.parent)
            examples(chat, stream_jsonl(path), 256, rows)
            return rows

        return _updates(model, read)


def of_stage(stage: Any, model: str, count: int) -> int:
    """Bytes that a stage needs for ``count`` comparisons, which are prompts as well, and its updates."""
    Epochs.steps = property(lambda plan: STEPS)  # type: ignore[assignment]
    before = resident_bytes()
    with tempfile.TemporaryDirectory() as where:
        rows, output = Path(where) / "rows", Path(where) / "output"
        for directory in (rows, output):
            directory.mkdir()
        _written(rows / "train.jsonl", _comparisons(count))
        _written(rows / "heldout.jsonl", _comparisons(count // 10))
        base, product = Product.load(model), Product.load(rows)
        inputs = {"base": base, "policy": base, "comparisons": product, "prompts": product}
        stage.run(Inputs(inputs), output, Machine(quiet=True))
    return peak_bytes() - before


ABSENT = ExistingModel(source=SourceFile(""))  # what a stage is made from is handed to it
STAGES = {
    "reward_modeling": RewardModeling(base=ABSENT, comparisons=ABSENT, batch_size=ROWS),
    "dpo": Alignment(policy=ABSENT, comparisons=ABSENT, batch_size=ROWS),
    "prompts": Reinforcement(
        policy=ABSENT,
        prompts=ABSENT,
        reward=Length(),
        method=GRPO(),
        steps=STEPS,
        prompts_per_step=4 * ROWS,
    ),
}


def measured(model: str, what: str, size: int) -> list[int]:
    command = [sys.executable, __file__, "--model", model, "--alone", what, str(size)]
    return [
        int(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.split()[-1])
        for _ in range(TIMES)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(BASE))
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    ask = parser.parse_args()
    torch.set_num_threads(1)
    if ask.alone:
        what, size = ask.alone
        measures = {"length": of_length, "rows": of_records}
        measures |= {name: partial(of_stage, stage) for name, stage in STAGES.items()}
        print(measures[what](ask.model, int(size)))
        return
    model = model_directory(ask.model)
    vocabulary = AutoConfig.from_pretrained(model).vocab_size
    for what, sizes in {"length": LENGTHS, **dict.fromkeys(("rows", *STAGES), RECORDS)}.items():
        times = [measured(model, what, size) for size in sizes]
        medians = [int(statistics.median(values)) for values in times]
        logits = [ROWS * size * vocabulary * 4 for size in sizes] if what == "length" else None
        keep(
            f"length-{Path(model).name}.json",
            what,
            {"sizes": sizes, "bytes": medians, "times": times, "logits": logits},
        )
        print(
            what, {size: f"{x / 2**20:.0f} MiB" for size, x in zip(sizes, medians, strict=True)}, flush=True
        )


if __name__ == "__main__":
    main()
