"""Write the tables of docs/gpu.md: what the stages estimate for models of 1 to 8 billion parameters.

    python scripts/gpu_table.py

Sizes are counted on the meta device from the published configurations; no weight is made. What stands in the
page outside of the two marks is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.modules.setdefault("bitsandbytes", ModuleType("bitsandbytes"))  # asked only whether it is there

from posttrain.cost.sizes import Size  # noqa: E402
from posttrain.models.lora import Lora  # noqa: E402
from posttrain.pipeline.sources import SourceFile  # noqa: E402
from posttrain.pipeline.stage import HeldIn, Inputs, Machine, Product, Stage, nested  # noqa: E402
from posttrain.policy_gradients.grpo import GRPO  # noqa: E402
from posttrain.rewards.learned import LearnedReward  # noqa: E402
from posttrain.stages.alignment import Alignment  # noqa: E402
from posttrain.stages.base import ExistingModel  # noqa: E402
from posttrain.stages.pairs import ComparisonPairs  # noqa: E402
from posttrain.stages.rl import Reinforcement  # noqa: E402
from posttrain.stages.rm import RewardModeling  # noqa: E402
from posttrain.stages.sft import InstructionTuning  # noqa: E402

PAGE = ROOT / "docs" / "gpu.md"
BEGIN, END = "<!-- scripts/gpu_table.py -->", "<!-- end of what scripts/gpu_table.py wrote -->"
CARDS = (24, 48, 80)  # GB
FREE = 0.92  # of a card: the rest is the driver's, the allocator's and what an estimate misses
RANK = 16
MACHINE = Machine(device="cuda", micro_batch_tokens=2048, recompute=True)
LLAMA: dict[str, Any] = {"vocab_size": 128_256, "num_key_value_heads": 8, "max_position_embeddings": 8192}
MODELS = {  # the shapes of Llama 3.2 1B and 3B and of Llama 3.1 8B
    "1B": LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
        tie_word_embeddings=True, **LLAMA,
    ),
    "3B": LlamaConfig(
        hidden_size=3072, intermediate_size=8192, num_hidden_layers=28, num_attention_heads=24,
        tie_word_embeddings=True, **LLAMA,
    ),
    "8B": LlamaConfig(
        hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32, num_attention_heads=32,
        tie_word_embeddings=False, **LLAMA,
    ),
}  # fmt: skip
TRUNKS: tuple[HeldIn, ...] = ("float32", "bfloat16", "int8", "nf4")
WAYS = {"all weights": None, **{f"LoRA on {trunk}": trunk for trunk in TRUNKS}}
ROWS = {"rows": 10_000, "heldout_rows": 500, "row_tokens": 600.0, "fresh": 1.0}


def size_of(config: LlamaConfig) -> Size:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return Size(
        parameters=sum({id(p): p.numel() for p in model.parameters()}.values()),
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        cached=2 * config.num_key_value_heads * (config.hidden_size // config.num_attention_heads),
        vocabulary=config.vocab_size,
    )


def stages(lora: Lora | None) -> dict[str, list[Stage]]:
    """Of each kind that the page speaks of, those that take the same."""
    model, rows = ExistingModel(source=SourceFile("model")), ExistingModel(source=SourceFile("rows"))
    fit: dict[str, Any] = {"lora": lora, "max_length": 1024, "batch_size": 16, "compute": "bfloat16"}
    answers: dict[str, Any] = {"compute": "bfloat16", "max_completion_length": 256}
    return {
        "`sft`, `rm`, `alignment`": [
            InstructionTuning(base=model, demonstrations=rows, **fit),
            RewardModeling(base=model, comparisons=rows, **fit),
            Alignment(policy=model, comparisons=rows, **fit),
        ],
        "`rl` (GRPO)": [Reinforcement(
            policy=model, reward=LearnedReward(model=model), prompts=rows, method=GRPO(), lora=lora,
            prompts_per_step=64, **answers,
        )],
        "`pairs`, other sampling": [ComparisonPairs(policy=model, prompts=rows, rows=500, **answers)],
    }  # fmt: skip


def needed(stage: Stage, size: Size) -> float:
    """GB that a stage estimates."""
    figures = {"ExistingModel": {"model": dict(size.figures()), "rows": ROWS}}

    def product(child: Stage) -> Product:
        metrics: Any = figures["ExistingModel"][child.source.path]  # type: ignore[attr-defined]
        return Product(Path("nowhere"), {"report": {"metrics": metrics}})

    assert nested(stage)
    work = stage.work(Inputs.gather(stage, product))
    assert work is not None
    return work.estimate(MACHINE).bytes / 1e9


def tables() -> Iterator[str]:
    sizes = {name: size_of(config) for name, config in MODELS.items()}
    yield "| stage | what learns | " + " | ".join(sizes) + " |"
    yield "|---|---|" + "--:|" * len(sizes)
    memory: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for way, trunk in WAYS.items():
        for stage, made in stages(None if trunk is None else Lora(rank=RANK, trunk=trunk)).items():
            if "sampling" in stage and trunk is not None:
                continue
            for name, size in sizes.items():
                memory.setdefault((stage, name), []).append((way, max(needed(one, size) for one in made)))
    for stage in stages(None):
        for index, (way, _) in enumerate(memory[stage, "1B"]):
            cells = " | ".join(f"{memory[stage, name][index][1]:.0f}" for name in sizes)
            yield f"| {stage} | {'nothing' if 'sampling' in stage else way} | {cells} |"
    yield ""
    yield "| stage | model | " + " | ".join(f"{card} GB" for card in CARDS) + " |"
    yield "|---|---|" + "---|" * len(CARDS)
    for (stage, name), ways in memory.items():
        cells = " | ".join(_first(ways, card, "sampling" in stage) for card in CARDS)
        yield f"| {stage} | {name} | {cells} |"


def _first(ways: list[tuple[str, float]], card: int, sampling: bool) -> str:
    """The way with the most precise numbers that fits."""
    for way, most in ways:
        if most <= FREE * card:
            return "yes" if sampling else way
    return "no"


def page(text: str) -> str:
    """The page with its tables made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before.rstrip("\n"), "", BEGIN, "", *tables(), "", END]) + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
