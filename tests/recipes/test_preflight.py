"""What is looked at before a stage learns finds nothing on recipes that are right, and takes seconds."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from posttrain.checks import model_probes
from posttrain.checks.doctor import rehearsed
from posttrain.cli import find_recipe
from posttrain.models.smollm2 import VERSION
from posttrain.pipeline import runner
from posttrain.pipeline.runner import run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine, Product, Stage, addresses
from posttrain.pipeline.store import Workspace
from posttrain.policy_gradients.grpo import GRPO
from posttrain.rewards.length import Length
from posttrain.settings import expression, parse
from posttrain.stages.alignment import Alignment
from posttrain.stages.base import ExistingModel
from posttrain.stages.demonstrations import DemonstrationRows
from posttrain.stages.labels import ComparisonRows
from posttrain.stages.prompts import PromptRows
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning
from posttrain.storage.jsonl import write_jsonl

HEALTHY = {
    "instructgpt": ("instructgpt",),
    "instructgpt with text mixed in": ("instructgpt", "ptx=1"),
    "instructgpt by GRPO": ("instructgpt", "rl.method=grpo"),
    "instructgpt with adapters": ("instructgpt", "lora=4"),
    "dpo": ("dpo",),
    "dpo by KTO": ("dpo", "alignment.method=kto"),
    "iterated_dpo": ("iterated_dpo", "count=2"),
    "best_of_n": ("best_of_n",),
    "tulu3": ("tulu3",),
    "deepseek_r1": ("deepseek_r1",),
    "deepseek_r1_zero": ("deepseek_r1_zero",),
    "rounds": ("rounds", "count=2"),
}
ON_EMBEDDED, ON_SMOLLM2 = 10.0, 60.0  # seconds of processor time, all stages of a recipe together
RECORDS = (InstructionTuning, RewardModeling, Alignment)
LOOKS = (
    (model_probes, "look_at_records"),
    (model_probes, "look_at_sampling"),
    (runner, "check_rows_ahead"),
    (runner, "preflight"),
)


@dataclass
class Taken:
    """Processor time of all threads, and what was called how often."""

    seconds: float = 0.0
    looks: Counter[str] = field(default_factory=Counter)


@contextmanager
def timed(patch: pytest.MonkeyPatch, ends: bool = False) -> Iterator[Taken]:
    """What the looks inside take; ``ends`` stops a stage once it was looked at."""
    taken = Taken()

    def measured(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def look(*given: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return plain(*given, **named)
            finally:
                taken.seconds += time.process_time() - began
                taken.looks[name] += 1

        return look

    for module, name in LOOKS:
        patch.setattr(module, name, measured(name, getattr(module, name)))
    if ends:
        for name in ("look_at_records", "look_at_sampling"):
            patch.setattr(model_probes, name, _ending(getattr(model_probes, name)))
    yield taken


class Looked(Exception):
    """The stage was looked at and nothing was found."""


def _ending(plain: Callable[..., Any]) -> Callable[..., Any]:
    def look(*given: Any, **named: Any) -> Any:
        plain(*given, **named)
        raise Looked

    return look


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, so that what recipes share is made once."""
    return tmp_path_factory.mktemp("workspace")


@pytest.mark.slow
@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_found_on_a_healthy_recipe_within_its_time(
    name: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe as it is, with one step and a few rows in each stage: looks are the same in both."""
    recipe, *wishes = HEALTHY[name]
    small = rehearsed(expression(find_recipe(recipe), parse(wishes)))
    with timed(monkeypatch) as taken:
        done = run(small, Workspace(workspace), Machine(quiet=True), accept=None, say=lambda text: None)
    assert not done.waiting
    found = [one for stage in done.record["stages"] for one in stage.get("findings", [])]
    assert [one for one in found if not one["passed"] and not one["learning"]] == []
    made = [stage for address, stage in addresses(small).items() if address in done.made]
    for kinds, look in ((RECORDS, "look_at_records"), ((Reinforcement,), "look_at_sampling")):
        assert taken.looks[look] == sum(isinstance(stage, kinds) for stage in made)
    print(f"looks at {len(made)} stages took {taken.seconds:.2f} s of the processor")
    assert taken.seconds < ON_EMBEDDED


def test_ten_recipes_and_more_are_looked_at() -> None:
    assert len(HEALTHY) >= 10
    for recipe, *wishes in HEALTHY.values():
        assert addresses(expression(find_recipe(recipe), parse(wishes)))


def smollm2() -> Path:
    """The model's directory where it was fetched once, as POSTTRAIN_SMOLLM2 says or in a workspace here."""
    named = os.environ.get("POSTTRAIN_SMOLLM2")
    found = Path(named) if named else Path("workspace", "cache", f"smollm2-135m-instruct-{VERSION}")
    if not (found / "config.json").is_file():
        pytest.skip(f"{found}: SmolLM2 is not here; POSTTRAIN_SMOLLM2=DIR names its directory")
    return found


@pytest.mark.slow
def test_a_model_of_135_million_weights_is_looked_at_in_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SFT, reward model, DPO and GRPO, each stopped where its first update would begin."""
    model = smollm2()
    asked = [[{"role": "user", "content": f"Tell me {n} facts about rivers, briefly."}] for n in range(4)]
    said = [
        [{"role": "assistant", "content": "A river carries water to the sea. " * (n + 1)}] for n in range(5)
    ]
    told = [{"messages": [*one, *said[n]]} for n, one in enumerate(asked)]
    better = [
        {"id": str(n), "prompt": one, "chosen": said[n], "rejected": said[n + 1]}
        for n, one in enumerate(asked)
    ]
    products = {"base": Product(model)}
    for name, rows in (
        ("demonstrations", told),
        ("labels", better),
        ("prompts", [{"id": str(n), "prompt": p} for n, p in enumerate(asked)]),
    ):
        (tmp_path / name).mkdir()
        for side in ("train", "heldout"):
            write_jsonl(tmp_path / name / f"{side}.jsonl", rows)
        products[name] = Product(tmp_path / name)
    base, file = ExistingModel(source=SourceFile(str(model))), SourceFile("rows.jsonl")
    labels = ComparisonRows(source=file)
    stages: list[Stage] = [
        InstructionTuning(base=base, demonstrations=DemonstrationRows(source=file)),
        RewardModeling(base=base, comparisons=labels),
        Alignment(policy=base, comparisons=labels),
        Reinforcement(policy=base, reward=Length(), prompts=PromptRows(source=file), method=GRPO()),
    ]
    with timed(monkeypatch, ends=True) as taken:
        for number, stage in enumerate(stages):
            inputs = Inputs.gather(stage, lambda child: products[type(child).address])
            began = time.process_time()
            assert stage.ahead(model, inputs, Machine(quiet=True)) == []
            taken.seconds += time.process_time() - began
            (tmp_path / str(number)).mkdir()
            with pytest.raises(Looked):
                stage.run(inputs, tmp_path / str(number), Machine(quiet=True))
    assert taken.looks == {"look_at_records": 3, "look_at_sampling": 1}
    assert taken.seconds < ON_SMOLLM2
    print(f"looks took {taken.seconds:.1f} s of the processor")
