"""A saved Llama of a few hundred weights, trained through the command line on its own samples, against the
optimum that is summed over all its answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from posttrain.cli import main
from posttrain.core.kl import exact
from posttrain.models.chat import Chat
from posttrain.models.loading import load_causal_lm
from tests.conftest import TEMPLATE
from tests.oracle.prompts import WIDE

pytestmark = pytest.mark.slow
BETA, LIMIT = 0.5, 2
TOKENS = ("<end>", "<bos>", "<pad>", "<user>", "<assistant>", "a", "b")
PROMPTS = ("a", "bab", "ba")
RECIPE = '''
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from posttrain.pipeline.sources import SourceFile
from posttrain.rewards.base import all_scored
from posttrain.stages.base import ExistingModel
from posttrain.stages.prompts import PromptRows
from posttrain.stages.rl import Reinforcement


def worth(said: tuple) -> float:
    """Likes b (6), dislikes length, and a b after an a (5) more than by itself."""
    return 1.0 * said.count(6) - 0.4 * len(said) + (1.0 if said == (5, 6) else 0.0)


class Worth:
    def score(self, episodes):
        said = [tuple(i for i, own in zip(e.ids, e.mask) if own) for e in episodes]
        return all_scored(torch.tensor([worth(s) for s in said]), "worth")


@dataclass(frozen=True, kw_only=True)
class Enumerable:
    @contextmanager
    def open(self, inputs, machine):
        yield Worth()


def tiny(model: str = "", prompts: str = ""):
    """Reinforcement of a model whose answers can all be counted."""
    return Reinforcement(
        policy=ExistingModel(source=SourceFile(model)),
        reward=Enumerable(),
        prompts=PromptRows(source=SourceFile(prompts, "datasets")),
        max_completion_length=2,
        prompts_per_step=384,
        steps=150,
        learning_rate=5e-3,
        critic_learning_rate=2e-2,
    )
'''
KL = ("rl.method.kl=KLInReward", f"rl.method.kl.coef={BETA}")
ARRIVE = {
    "reinforce": KL,
    "rloo": KL,
    "ppo": KL,
    "a2c": KL,
    "reinforce_plus_plus": KL,
    "grpo": (*KL, "rl.method.std=false"),
    "online_dpo": (f"rl.method.alignment.beta={BETA}", "rl.group_size=2", "rl.prompts_per_step=256"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, the prompts and the recipe, as a user would lay them down."""
    place = tmp_path_factory.mktemp("tiny")
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        pad_token="<pad>",
        eos_token="<end>",
        additional_special_tokens=["<user>", "<assistant>"],
    )
    made.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=16,
        initializer_range=0.2,
        pad_token_id=2,
        bos_token_id=1,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(place / "model")
    made.save_pretrained(place / "model")
    (place / "prompts.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in PROMPTS), "utf-8")
    (place / "tiny.py").write_text(RECIPE, "utf-8")
    return place


def answers() -> list[tuple[int, ...]]:
    """Every text of at most two tokens; 0 ends it."""
    return [(0,), *((i, j) for i in range(1, len(TOKENS)) for j in range(len(TOKENS)))]


def logprobs(directory: Path, prompt: list[int]) -> Tensor:
    """[answers] float64 of each, as transformers reads the saved model."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    with torch.no_grad():
        first = model(torch.tensor([prompt])).logits[0, -1].to(WIDE).log_softmax(-1)
        rows = torch.tensor([[*prompt, token] for token in range(len(TOKENS))])
        second = model(rows).logits[:, -1].to(WIDE).log_softmax(-1)
    return torch.stack([first[a[0]] + (second[a[0], a[1]] if len(a) > 1 else 0) for a in answers()])


def trained(world: Path, method: str, settings: tuple[str, ...], workspace: Path) -> tuple[float, float]:
    """Nats from the optimum before and after, the mean over the prompts that were trained on."""
    command = [
        "run",
        str(world / "tiny.py"),
        f"model={world / 'model'}",
        f"prompts={world / 'prompts.jsonl'}",
    ]
    said = [f"rl.method={method}", *settings, "--workspace", str(workspace), "--quiet"]
    sys.modules.pop("tiny", None)  # each command is a process of its own
    assert main([*command, *said]) == 0
    made = {path.name.rsplit("-", 1)[0]: path for path in (workspace / "products").iterdir()}
    scope: dict[str, Any] = {"__name__": "tiny"}
    exec(RECIPE, scope)
    reward = torch.tensor([scope["worth"](a) for a in answers()], dtype=WIDE)
    chat = Chat(load_causal_lm(str(made["rl"]))[1])
    rows = [json.loads(line) for line in (made["prompts"] / "train.jsonl").read_text("utf-8").splitlines()]
    before, after = [], []
    for row in rows:
        prompt = chat.prompt_ids(row["prompt"])
        log_q, log_p = (logprobs(x, prompt) for x in (world / "model", made["rl"]))
        assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-5)
        best = (log_q + reward / BETA).log_softmax(0)
        before.append(float(exact(log_q, best)))
        after.append(float(exact(log_p, best)))
    return sum(before) / len(before), sum(after) / len(after)


@pytest.mark.parametrize("method", ARRIVE)
def test_a_saved_llama_reaches_the_optimum(method: str, world: Path, tmp_path: Path) -> None:
    before, after = trained(world, method, ARRIVE[method], tmp_path)
    assert before > 0.3
    assert after <= 0.02


def test_certain_labels_go_past_it(world: Path, tmp_path: Path) -> None:
    certain = (*ARRIVE["online_dpo"], "rl.method.label_temperature=0", "--accept-gate", "rl_kl_budget")
    assert trained(world, "online_dpo", certain, tmp_path)[1] > 0.1
