"""Training: one step of posttrain beside the same step of TRL 1.16, on the same rows and weights.

    python benchmarks/bench_training.py [--model DIR] [--tasks sft,dpo,rm,grpo] [--steps 4] [--dtype float32]

A and B take turns in one process: after every step of TRL's own trainer, timed by its callbacks, posttrain
makes a step on rows of the same lengths. The figure is the ratio of the medians. ``--clock cpu`` counts the
processor time of this process, which a busy machine does not lengthen; take it with ``--threads 1``. Writes
benchmarks/results/training-MODEL-DTYPE.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)

from posttrain.core.batch import Evaluation, Wants
from posttrain.core.kl import KLInLoss
from posttrain.core.preferences import ranked, wanted
from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.sft import SFT
from posttrain.engines.builtin import BuiltinEngine
from posttrain.engines.protocol import Sampling
from posttrain.models.collate import Row, rollouts
from posttrain.models.roles import Place, open_policy, open_reward
from posttrain.policy_gradients.grpo import GRPO
from posttrain.reward_losses.bradley_terry import BradleyTerry
from posttrain.training.fit import FitState, fit
from posttrain.training.optimizer import Group, Optimizer
from posttrain.training.reinforce import ReinforceState, reinforce

ROOT = Path(__file__).resolve().parent.parent
BASE = ROOT / "posttrain" / "field_guide" / "base"
RATE = 1e-6


@dataclass(frozen=True)
class Work:
    """What both sides do in a step."""

    model: str
    dtype: str
    steps: int
    sizes: dict[str, int]  # rows, prompt, answer, group
    vocabulary: int

    @property
    def place(self) -> Place:
        return Place(compute=None if self.dtype == "float32" else self.dtype)

    def drawn(self, seed: int, mean: float) -> list[int]:
        """Tokens of a log-normal number, a quarter of the mean to four times as many."""
        g = torch.Generator().manual_seed(seed)
        n = mean * float((torch.randn((), generator=g) * 0.6 - 0.18).exp())
        n = int(min(max(n, mean / 4), mean * 4))
        return torch.randint(20, self.vocabulary, (n,), generator=g).tolist()

    def pairs(self) -> list[tuple[list[int], list[int], list[int]]]:
        """Prompt, chosen and rejected."""
        prompt, answer = self.sizes["prompt"], self.sizes["answer"]
        return [
            (self.drawn(3 * i, prompt), self.drawn(3 * i + 1, answer), self.drawn(3 * i + 2, answer))
            for i in range(self.sizes["rows"] * (self.steps + 1))
        ]

    def settings(self, **more: Any) -> dict[str, Any]:
        """What every trainer of TRL is told."""
        return {
            "per_device_train_batch_size": self.sizes["rows"],
            "max_steps": self.steps + 1,
            "learning_rate": RATE,
            "lr_scheduler_type": "constant",
            "bf16": self.dtype == "bfloat16",
            "gradient_checkpointing": False,
            "report_to": "none",
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": True,
            **more,
        }

    def theirs(self, kind: Any = AutoModelForCausalLM, **more: Any) -> Any:
        return kind.from_pretrained(self.model, dtype=torch.float32, **more)


def as_they_are(trainer: Any) -> Any:
    """A trainer that takes rows of tokens in their order, without preparing them."""

    class Taking(trainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset

        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    return Taking


def _row(prompt: list[int], answer: list[int], group: int = -1) -> Row:
    return Row(ids=[*prompt, *answer], mask=[False] * len(prompt) + [True] * len(answer), group=group)


def _fit(parameters: Any, forward: Any, method: Any, batches: Any, steps: int) -> Iterator[Any]:
    group = Group(name="model", parameters=parameters, learning_rate=RATE)
    return fit(FitState(), forward, method, batches, Optimizer([group]), steps=steps + 1)


def sft(work: Work, where: str) -> tuple[Any, Iterator[Any]]:
    from trl import SFTConfig, SFTTrainer

    pairs, n = work.pairs(), work.sizes["rows"]
    roles = open_policy(work.model, place=work.place)
    policy, method = roles.policy, SFT()
    rows = [_row(prompt, answer) for prompt, answer, _ in pairs]
    mine = _fit(
        policy.parameters_of("policy"),
        lambda past: policy.evaluate(past.rollouts, method.wants),
        method,
        lambda step: wanted(rollouts(rows[step * n : (step + 1) * n], 0)),
        work.steps,
    )
    labels = [[-100] * len(prompt) + answer for prompt, answer, _ in pairs]
    data = Dataset.from_dict({"input_ids": [row.ids for row in rows], "labels": labels})
    trainer = as_they_are(SFTTrainer)(
        model=work.theirs(),
        args=SFTConfig(where, **work.settings()),
        train_dataset=data,
        processing_class=roles.tokenizer,
    )
    return trainer, mine


def dpo(work: Work, where: str) -> tuple[Any, Iterator[Any]]:
    from trl import DPOConfig, DPOTrainer

    pairs, n = work.pairs(), work.sizes["rows"]
    roles = open_policy(work.model, reference=True, place=work.place)
    policy, method = roles.policy, DPO()
    batches = _compared(pairs, n)

    def batch(step: int) -> Any:
        """The reference reads in the step, as TRL's does."""
        past = batches(step)
        with torch.no_grad():
            said = roles.reference.evaluate(past.rollouts, Wants(entropy=False))
        return replace(past, reference=Evaluation(logprobs=said.logprobs))

    mine = _fit(
        policy.parameters_of("policy"),
        lambda past: policy.evaluate(past.rollouts, method.wants),
        method,
        batch,
        work.steps,
    )
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    trainer = as_they_are(DPOTrainer)(
        model=work.theirs(),
        ref_model=work.theirs(),
        args=DPOConfig(where, max_length=None, **work.settings()),
        train_dataset=Dataset.from_dict({name: list(x) for name, x in zip(names, zip(*pairs))}),
        processing_class=roles.tokenizer,
    )
    return trainer, mine


def rm(work: Work, where: str) -> tuple[Any, Iterator[Any]]:
    from trl import RewardConfig, RewardTrainer

    pairs, n = work.pairs(), work.sizes["rows"]
    role = open_reward(work.model, place=work.place)
    reward = role.reward
    mine = _fit(
        reward.parameters(),
        lambda past: reward.score(past.rollouts),
        BradleyTerry(),
        _compared(pairs, n),
        work.steps,
    )
    data = {
        "chosen_ids": [prompt + chosen for prompt, chosen, _ in pairs],
        "rejected_ids": [prompt + rejected for prompt, _, rejected in pairs],
    }
    trainer = as_they_are(RewardTrainer)(
        model=work.theirs(AutoModelForSequenceClassification, num_labels=1),
        args=RewardConfig(where, max_length=None, **work.settings()),
        train_dataset=Dataset.from_dict(data),
        processing_class=role.tokenizer,
    )
    return trainer, mine


def _compared(pairs: list[Any], n: int) -> Callable[[int], Any]:
    def batch(step: int) -> Any:
        rows = [
            _row(prompt, answer, group)
            for group, (prompt, *answers) in enumerate(pairs[step * n : (step + 1) * n])
            for answer in answers
        ]
        return ranked(rollouts(rows, 0), torch.tensor([0, 1] * n))

    return batch


def grpo(work: Work, where: str) -> tuple[Any, Iterator[Any]]:
    from trl import GRPOConfig, GRPOTrainer

    n, size, length = work.sizes["rows"], work.sizes["group"], work.sizes["answer"]
    roles = open_policy(work.model, reference=True, place=work.place)
    words = AutoTokenizer.from_pretrained(work.model)
    texts = [words.decode(work.drawn(i, work.sizes["prompt"])) for i in range(n * (work.steps + 1))]
    prompts = [words(text)["input_ids"] for text in texts]
    engine = BuiltinEngine(roles.model)

    def collect(step: int) -> Any:
        asked = [prompt for prompt in prompts[step * n : (step + 1) * n] for _ in range(size)]
        sampling = Sampling(max_tokens=length)
        numbers = {engine.submit(prompt, sampling, i): i for i, prompt in enumerate(asked)}
        rows: list[Any] = [None] * len(asked)
        for done in engine.finished():
            i = numbers[done.request]
            rows[i] = Row(
                ids=[*asked[i], *done.tokens],
                mask=[False] * len(asked[i]) + [True] * len(done.tokens),
                logprobs=done.logprobs,
                reward=float(len(set(done.tokens))),
                group=i // size,
                version=done.version,
            )
        return rollouts(rows, 0)

    mine = reinforce(
        ReinforceState(),
        roles.policy,
        GRPO(kl=KLInLoss(coef=0.04)),
        collect,
        Optimizer(
            [Group(name="policy", parameters=roles.policy.parameters_of("policy"), learning_rate=RATE)]
        ),
        lambda version: engine.load(roles.weights(), version),
        steps=work.steps + 1,
        reference=roles.reference,
    )
    settings = GRPOConfig(
        where,
        num_generations=size,
        max_completion_length=length,
        beta=0.04,
        generation_kwargs={"min_new_tokens": length},
        shuffle_dataset=False,
        **work.settings(per_device_train_batch_size=n * size),
    )
    trainer = GRPOTrainer(
        model=work.theirs(),
        reward_funcs=lambda completion_ids, **_: [float(len(set(ids))) for ids in completion_ids],
        args=settings,
        train_dataset=Dataset.from_dict({"prompt": texts}),
        processing_class=words,
    )
    return trainer, mine


class Turns(TrainerCallback):  # type: ignore[misc]
    """Times a step of the trainer, then makes and times one of ours."""

    def __init__(self, mine: Iterator[Any], clock: Callable[[], float]) -> None:
        self.mine, self.clock, self.started = mine, clock, 0.0
        self.seconds: dict[str, list[float]] = {"posttrain": [], "trl": []}

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.started = self.clock()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds["trl"].append(self.clock() - self.started)
        started = self.clock()
        next(self.mine)
        self.seconds["posttrain"].append(self.clock() - started)


TASKS = {"sft": sft, "dpo": dpo, "rm": rm, "grpo": grpo}


def measured(task: str, work: Work, clock: Callable[[], float]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as where:
        trainer, mine = TASKS[task](work, where)
        turns = Turns(mine, clock)
        trainer.add_callback(turns)
        trainer.train()
    seconds = {name: values[1:] for name, values in turns.seconds.items()}  # the first warms both up
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "work": work.sizes,
        "seconds": seconds,
        "medians": medians,
        "ratio": medians["trl"] / medians["posttrain"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(BASE))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    for name, size in (("rows", 8), ("prompt", 60), ("answer", 48), ("group", 4)):
        parser.add_argument(f"--{name}", type=int, default=size)
    ask = parser.parse_args()
    torch.set_num_threads(ask.threads)
    sizes = {name: getattr(ask, name) for name in ("rows", "prompt", "answer", "group")}
    vocabulary = len(AutoTokenizer.from_pretrained(ask.model))
    work = Work(ask.model, ask.dtype, ask.steps, sizes, vocabulary)
    clock = time.perf_counter if ask.clock == "wall" else time.process_time
    name = Path(ask.model).name
    where = ROOT / "benchmarks" / "results"
    where.mkdir(exist_ok=True)
    file = where / f"training-{name}-{ask.dtype}.json"
    found = json.loads(file.read_text()) if file.is_file() else {}
    for task in ask.tasks.split(","):
        found[task] = measured(task, work, clock) | {"threads": ask.threads, "clock": ask.clock}
        file.write_text(json.dumps(found, indent=1) + "\n")
        medians = found[task]["medians"]
        print(
            f"{task:5s} posttrain {medians['posttrain']:8.3f} s   trl {medians['trl']:8.3f} s   "
            f"ratio {found[task]['ratio']:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
