"""What a base model of the embedded world knows, measured in plain text, without a chat template."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from posttrain.field_guide.corpus import unused_statement
from posttrain.field_guide.operands import sums
from posttrain.field_guide.phrasing import (
    QUESTIONS_TRAIN,
    asking_variants,
    attributes,
    prefix,
    prefix_variants,
    question,
)
from posttrain.field_guide.world import Entity, accepted, entities

_ASKING = re.compile(r"\?|^\s*(?:Tell me|Say|Name|Spell|Can you say|One word|Answer in)")
FACTS, SUM_FIRST, SUM_MANY = 0.90, 0.20, 0.80


def measure(folder: Path) -> dict[str, Any]:
    """The gates of the base in `folder`: shares between 0 and 1, and whether the required ones hold."""
    base = Base(folder)
    subjects = list(entities())
    held, trained = [e for e in subjects if e.heldout], [e for e in subjects if not e.heldout]
    gates: dict[str, Any] = {
        "heldout_facts": facts(base, held, _first_form),
        "heldout_facts_other_form": facts(base, held, _other_form),
        "heldout_facts_unseen_form": facts(base, held, _unseen_form),
        "heldout_facts_open_form": facts(base, held, _open_form),
        "trained_facts": facts(base, trained, _first_form),
        "trained_facts_unseen_form": facts(base, trained, _unseen_form),
        "heldout_facts_after_question": facts_after_question(base, held),
    }
    gates |= sum_gates(base) | question_gates(base, subjects)
    gates["passed"] = (
        gates["heldout_facts"] >= FACTS
        and gates["sum_pass_at_1"] <= SUM_FIRST
        and gates["sum_pass_at_64"] >= SUM_MANY
    )
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in gates.items()}


class Base:
    """The model and tokenizer of a folder, with a batched continuation of plain text."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.no_grad()
    def go_on(self, texts: Sequence[str], tokens: int, sample: bool = False, seed: int = 0) -> list[str]:
        """Each text's continuation, greedy or drawn at temperature 1; a page starts before each text."""
        torch.manual_seed(seed)
        self.tokenizer.padding_side = "left"
        continuations: list[str] = []
        for start in range(0, len(texts), 256):
            rows = [self.tokenizer.bos_token + text for text in texts[start : start + 256]]
            batch = self.tokenizer(rows, return_tensors="pt", padding=True, add_special_tokens=False)
            made: Tensor = self.model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                do_sample=sample,
                temperature=1.0 if sample else None,
                top_k=0 if sample else None,
                max_new_tokens=tokens,
                eos_token_id=self.tokenizer.bos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
            )
            new = made[:, batch["input_ids"].shape[1] :]
            continuations.extend(self.tokenizer.batch_decode(new, skip_special_tokens=True))
        return continuations


def _first_form(kind: str, attribute: str) -> int:
    return asking_variants(kind, attribute)[0]


def _other_form(kind: str, attribute: str) -> int:
    forms = [n for n in asking_variants(kind, attribute) if n != unused_statement(attribute)]
    return Random(f"form {attribute}").choice(forms[1:])


def _open_form(kind: str, attribute: str) -> int:
    return prefix_variants(attribute)[0]


def _unseen_form(kind: str, attribute: str) -> int:
    return unused_statement(attribute)


def facts(base: Base, subjects: Sequence[Entity], form: Callable[[str, str], int]) -> float:
    """The share of (entity, attribute) whose sentence, cut before the value, goes on with a true one."""
    asked = [(e, a) for e in subjects for a in attributes(e)]
    continuations = base.go_on([prefix(e, a, form(e.kind, a)) for e, a in asked], tokens=14)
    return sum(_true(e, a, text) for (e, a), text in zip(asked, continuations, strict=True)) / len(asked)


def facts_after_question(base: Base, subjects: Sequence[Entity]) -> float:
    """As `facts`, the sentence after a question about it: what instruction tuning will rest on."""
    asked = [(e, a) for e in subjects for a in attributes(e)]
    texts = [f"{question(e, a, 0)} {prefix(e, a, _first_form(e.kind, a))}" for e, a in asked]
    continuations = base.go_on(texts, tokens=14)
    return sum(_true(e, a, text) for (e, a), text in zip(asked, continuations, strict=True)) / len(asked)


def _true(entity: Entity, attribute: str, text: str) -> bool:
    start = re.sub(r"^(a piece of|a kind of|an|a) ", "", text.strip())
    return any(re.match(re.escape(value) + r"\b", start) for value in accepted(entity, attribute))


def sum_gates(base: Base, problems: int = 60, samples: int = 64) -> dict[str, float]:
    """pass@1 and pass@64 of held-out operands, posed as a line of a page of sums, drawn at temperature 1."""
    pairs = Random(0).sample(sums(heldout=True), problems)
    texts = [f"Sums\n{a} + {b}" for a, b in pairs for _ in range(samples)]
    continuations = [text.split("\n")[0] for text in base.go_on(texts, tokens=40, sample=True)]
    right = [_last_number(text) == sum(pairs[row // samples]) for row, text in enumerate(continuations)]
    worked = [text.startswith(":") for text in continuations]
    solved = [any(right[row * samples : (row + 1) * samples]) for row in range(problems)]
    right_when_worked = [r for r, w in zip(right, worked, strict=True) if w]
    return {
        "sum_pass_at_1": sum(right) / len(right),
        "sum_pass_at_64": sum(solved) / problems,
        "sum_worked": sum(worked) / len(worked),
        "sum_right_when_worked": sum(right_when_worked) / max(1, len(right_when_worked)),
    }


def _last_number(text: str) -> int:
    numbers = re.findall(r"\d+", text)
    return int(numbers[-1]) if numbers else -1


def question_gates(base: Base, subjects: Sequence[Entity], count: int = 400) -> dict[str, float]:
    """What follows a bare question: a sentence with its true value, another question, or other text."""
    rng = Random(1)
    asked = [(e, rng.choice(attributes(e))) for e in rng.sample(subjects, min(count, len(subjects)))]
    texts = [question(e, a, rng.randrange(QUESTIONS_TRAIN)) for e, a in asked]
    continuations = base.go_on(texts, tokens=24)
    first = [(re.match(r"\s*[^.?!\n]*[.?!]?", text) or [""])[0].strip() for text in continuations]
    answered = [
        any(re.search(rf"\b{re.escape(value)}\b", text) for value in accepted(e, a))
        and not text.endswith("?")
        for (e, a), text in zip(asked, first, strict=True)
    ]
    return {
        "question_answered": sum(answered) / len(answered),
        "question_then_question": sum(bool(_ASKING.search(text)) for text in continuations)
        / len(continuations),
    }
