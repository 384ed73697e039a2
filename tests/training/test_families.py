"""Of every family that people bring: splitting a batch, padding it, reordering it, packing its rows and
reading once what they share never changes an update, and the sampler says what the trainer says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from posttrain.core.batch import Wants
from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguagePolicy
from posttrain.models.prefix_tree import sort_by_prefix
from posttrain.storage.token_rows import TokenRow
from posttrain.training.optimizer import Group, Optimizer
from posttrain.training.update import update
from tests.models.families import FAMILIES, VOCABULARY, WINDOWS, WITHOUT_SCALAR, causal, double
from tests.training import test_packing
from tests.training.test_invariance import away

LIKE_LLAMA = ("starcoder2", "smollm3")  # the trunk is Llama's but for a switch: with the slow tests
EACH = [pytest.param(f, marks=pytest.mark.slow) if f in LIKE_LLAMA else f for f in FAMILIES]
METHODS = ("ppo", "sft", "dpo", "bradley-terry")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a batch is laid out and cut."""

    order: tuple[int, ...] = ()  # as it is
    limit: int = 10**6  # steps in a micro-batch
    left: bool = False
    width: int | None = None
    packed: bool = True
    sub_batch_tokens: int = 2048


AS_IT_IS = Layout(packed=False)
LAYOUTS = {
    "packed": Layout(),
    "packed, in parts": Layout(limit=1, sub_batch_tokens=24, left=True),
    "padded on the left, reordered, split": Layout(
        packed=False, left=True, width=40, order=(4, 5, 0, 9, 1, 8, 7, 2, 6, 3), limit=60
    ),
}


def rows() -> list[TokenRow]:
    """Two answers to each of five prompts: three of these part after 10 tokens, and there rows are longer
    than the families' windows; two are short. All are shorter than Phi-3's original context.
    """
    g = torch.Generator().manual_seed(7)

    def drawn(count: int) -> list[int]:
        return torch.randint(3, VOCABULARY, (count,), generator=g).tolist()

    system, made = drawn(10), []
    prompts = [*([*system, *drawn(count)] for count in (2, 1, 3)), drawn(2), drawn(3)]
    for group, asked in enumerate(prompts):
        for count in (1 + group, 6 - group):
            mask = [True, True, False, False, True, True][:count] if count == 6 else [True] * count
            logprobs = (-3 - torch.rand(sum(mask), generator=g)).tolist()
            made.append(
                TokenRow(
                    ids=[*asked, *drawn(count)],
                    mask=[*[False] * len(asked), *mask],
                    logprobs=logprobs,
                    reward=float(torch.randn((), generator=g)),
                    group=group,
                    temperature=0.7,
                )
            )
    return made


def live(family: str, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    """A random policy, and a critic or reward model where transformers has the class."""
    policy, config = causal(family, dtype), FAMILIES[family]()
    if family in WITHOUT_SCALAR:
        return {"policy": policy}
    config.num_labels = 1
    critic = AutoModelForSequenceClassification.from_config(config, dtype=dtype).eval()
    return {"policy": policy, "critic": critic}


class _Watched(Optimizer):
    """What had been accumulated when it was asked to step."""

    def step(self, evidence: dict[str, float] | None = None) -> dict[str, float]:
        parameters = [p for group in self.groups for p in group.parameters]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        self.seen = torch.cat([g.flatten() for g in grads]).clone()
        return {}


def gradient(name: str, models: dict[str, Any], layout: Layout) -> Tensor:
    """Of one update by a method, with respect to all weights of all models."""
    made = rows()
    facts = rollouts(
        [made[i] for i in layout.order or range(len(made))], pad_id=0, left=layout.left, width=layout.width
    )
    part = test_packing.METHODS[name](
        models, facts, packed=layout.packed, sub_batch_tokens=layout.sub_batch_tokens
    )
    optimizer = _Watched(
        Group(name=role, parameters=list(model.parameters()), learning_rate=0.0)
        for role, model in models.items()
    )
    update(optimizer, [part], layout.limit)
    return optimizer.seen


@pytest.mark.parametrize("family", EACH)
def test_a_layout_changes_no_update(family: str) -> None:
    models = live(family)
    with double():
        for name in METHODS if "critic" in models else ("sft", "dpo"):
            plain = gradient(name, models, AS_IT_IS)
            assert plain.norm() > 1e-3
            for how, layout in LAYOUTS.items():
                assert away(plain, gradient(name, models, layout)) <= 1e-12, f"{name}, {how}"
    plain = gradient("dpo", models, AS_IT_IS)  # with the norms that transformers makes in float32
    assert away(plain, gradient("dpo", models, LAYOUTS["packed, in parts"])) <= 1e-6


@pytest.mark.parametrize("family", EACH)
def test_sampler_and_trainer_say_what_a_row_alone_says(family: str) -> None:
    model = causal(family, torch.float32)
    prompts = [list(range(3, 3 + count)) for count in (2, 11, 5)]
    engine = BuiltinEngine(model, max_rows=2)
    numbers = [engine.submit(prompt, Sampling(max_tokens=8), seed) for seed, prompt in enumerate(prompts)]
    said = {completion.request: completion for completion in engine.finished()}
    rows = [
        TokenRow(ids=[*prompt, *said[n].tokens], mask=[False] * len(prompt) + [True] * len(said[n].tokens))
        for n, prompt in zip(numbers, prompts, strict=True)
    ]
    facts = rollouts(rows, 0, left=True)
    with torch.no_grad():
        trained = LanguagePolicy(model).evaluate(facts, Wants()).logprobs
        alone = [model(torch.tensor([row.ids])).logits[0].log_softmax(-1) for row in rows]
    for place, row in enumerate(rows):
        mask, ids = torch.tensor(row.mask[1:]), torch.tensor(row.ids[1:])
        wanted = alone[place][:-1].gather(1, ids[:, None])[:, 0][mask]
        sampled = torch.tensor(said[numbers[place]].logprobs)
        torch.testing.assert_close(trained[place][facts.action_mask[place]], wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(sampled, wanted, rtol=1e-4, atol=1e-5)


def test_the_rows_give_every_layout_something_to_do() -> None:
    """A test of the tests: prompts that part late, rows on both sides of each window, a shared table."""
    order, shared = sort_by_prefix([list(row.ids) for row in rows()])
    lengths = [len(row.ids) for row in rows()]
    assert sum(count >= 10 for count in shared) == 5
    assert min(lengths) < min(WINDOWS) <= max(WINDOWS) < max(lengths) <= 20
    inside = [len(rows()[i].ids) <= max(WINDOWS) for i, count in zip(order, shared, strict=True) if count > 8]
    assert any(inside)
    assert not all(inside)
