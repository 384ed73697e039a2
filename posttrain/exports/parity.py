"""Does what was written say what the model says? Greedy answers, token by token, from two readers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.models.chat import Chat
from posttrain.pipeline.finding import UserError

TOKENS = 24  # of each answer
# questions, and text that tokenizers cut differently: numbers, marks, case, spaces, other scripts
PROMPTS = (
    "What is ice?",
    "Who are you?",
    "Name three colours.",
    "What is 12 + 345?",
    "Count from 1 to 10.",
    "Write a short story about a dog.",
    "In 2023, how many people lived in Paris?",
    "It's what we've got, isn't it?",
    "Translate to French: good morning",
    "Is the sky blue? Answer yes or no.",
    "  Two spaces first, and   three between.",
    "A line\nand another\n\nand a third.",
    "E-mail me at someone@example.com, OK?!",
    "Größe, naïve, señor, 東京, мир",
    "x = [i**2 for i in range(10)]",
    "ALL CAPITALS and camelCase and snake_case",
    "Prices: $3.50, 20%, 1,000,000.",
    "\tA tab, then a colon: then this…",
    "Explain rain to a child in one sentence.",
    "Why?",
)
# how much likelier the model's own token may be than the other reader's, in nats (f32: sums are rounded)
ROUNDED = {"f32": 1e-3, "f16": 0.05, "bf16": 0.3, "q8_0": 0.5}


@dataclass(frozen=True, kw_only=True)
class GreedyAnswers:
    """What a model is asked, as token ids, and its greedy answers."""

    prompts: list[list[int]]
    tokens: list[list[int]]


def answers(model: Any, chat: Chat) -> GreedyAnswers:
    """Greedy answers of the built-in engine to ``PROMPTS``. Raises UserError where they do not fit."""
    engine = BuiltinEngine(model)
    prompts = [chat.prompt_ids([{"role": "user", "content": text}]) for text in PROMPTS]
    room = min(TOKENS, engine.context - max(map(len, prompts)))
    if room < 1:
        raise UserError(
            f"the model reads {engine.context} tokens and the check's longest prompt has "
            f"{max(map(len, prompts))}; what was written could not be compared"
        )
    sampling = Sampling(temperature=0.0, max_tokens=room, stop_ids=chat.stop_ids)
    numbers = [engine.submit(prompt, sampling, 0) for prompt in prompts]
    tokens = {completion.request: completion.tokens for completion in engine.finished()}
    return GreedyAnswers(prompts=prompts, tokens=[tokens[number] for number in numbers])


Reader = Callable[[Sequence[int], int], list[int]]  # a prompt and the most tokens to the answer


def plain_reader(model: Any, stop_ids: Sequence[int]) -> Reader:
    """A transformers model's own ``generate``."""

    def read(prompt: Sequence[int], most: int) -> list[int]:
        ids = torch.tensor([list(prompt)], device=model.device)
        with torch.no_grad():
            made = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=most,
                eos_token_id=list(stop_ids),
                pad_token_id=stop_ids[0],
            )
        answer: list[int] = made[0, len(prompt) :].tolist()
        return answer

    return read


class LlamaCppCrash(Exception):
    """llama.cpp's process ended without an answer; the message says how."""


def llama_cpp_reader(file: Path, chat: Chat, written: GreedyAnswers) -> Reader | None:
    """llama.cpp on a GGUF file; None where llama-cpp-python is not installed.

    Raises UserError where it cuts the text of a prompt into other tokens, LlamaCppCrash where its process
    ends without an answer.
    """
    if find_spec("llama_cpp") is None:
        return None
    texts = [
        str(chat.tokenizer.decode(prompt, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        for prompt in written.prompts
    ]
    request = {
        "file": str(file),
        "texts": texts,
        "prompts": written.prompts,
        "most": [len(tokens) for tokens in written.tokens],
        "stop_ids": list(chat.stop_ids),
    }
    command = [sys.executable, "-m", "posttrain.exports.llama_cpp_process"]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)
    if done.returncode:
        raise LlamaCppCrash(_ending(done.returncode, done.stderr))
    reply = json.loads(done.stdout.splitlines()[-1])
    for text, prompt, tokens in zip(texts, written.prompts, reply["tokens"], strict=True):
        if tokens != list(prompt):
            raise UserError(
                f"llama.cpp reads {text!r} as tokens {tokens}, the model was trained on {list(prompt)}; "
                "nothing was kept. Please report this tokenizer"
            )
    answers = {tuple(p): answer for p, answer in zip(written.prompts, reply["answers"], strict=True)}
    return lambda prompt, most: answers[tuple(prompt)][:most]


def _ending(code: int, stderr: str) -> str:
    if code < 0:
        return f"its process ended with {signal.Signals(-code).name}"
    return (stderr.strip().splitlines() or [f"exit code {code}"])[-1][:200]


def compare(model: Any, chat: Chat, wanted: GreedyAnswers, read: Reader, kind: str = "f32") -> int:
    """How many answers are equal, token by token. Raises UserError where one differs by more than ``kind``
    rounds: there the model finds its own token likelier by more than ``ROUNDED`` nats.
    """
    equal = 0
    for text, prompt, tokens in zip(PROMPTS, wanted.prompts, wanted.tokens, strict=True):
        answer = read(prompt, len(tokens))
        if answer == tokens:
            equal += 1
            continue
        index = next((i for i, pair in enumerate(zip(tokens, answer)) if pair[0] != pair[1]), len(answer))
        other_token = answer[index] if index < len(answer) else None
        gap = _gap(model, [*prompt, *tokens[:index]], tokens[index], other_token)
        if gap > ROUNDED[kind]:
            words = [chat.tokenizer.decode([token]) for token in tokens[index : index + 1]]
            other = "an end" if other_token is None else repr(chat.tokenizer.decode([other_token]))
            raise UserError(
                f"what was written does not say what the model says: to {text!r} its token {index + 1} is "
                f"{other}, the model's {words[0]!r}, which it finds likelier by {gap:.3g} nats (at most "
                f"{ROUNDED[kind]} are excused in {kind}). Nothing was kept"
            )
    return equal


@torch.no_grad()
def _gap(model: Any, ids: list[int], token: int, other: int | None) -> float:
    """The log-probability of ``token`` as the next one, less that of ``other``."""
    if other is None:
        return float("inf")
    logits = model(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1].float()
    return float(logits[token] - logits[other])
