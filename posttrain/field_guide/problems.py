"""Problems of the embedded world whose answers a program can check: sums on a page, sums and words in a chat.

Nothing here reads the gold reward: what trains may use it. A row's ``answer`` is the one right answer; how it
was come by is the policy's own.
"""

from __future__ import annotations

import random
from typing import Any

from posttrain.field_guide.operands import SPELL_WORDS, spell_heldout, sums, working
from posttrain.field_guide.tasks import WORDINGS, Split

Row = dict[str, Any]
HEADS = ("Sums", "More sums", "My sums")  # as pretraining pages begin


def sum_lines(split: Split, n: int, seed: int) -> list[Row]:
    """``n`` first lines of a page of sums, cut after the operands: {"id", "prompt": text, "stop", "answer",
    "item"}, for a base model that has seen no chat.

    No line comes twice before all have come. The same arguments give the same list.
    """
    rng = random.Random(f"sum lines:{split}:{seed}")
    all_lines = [(head, a, b) for head in HEADS for a, b in sums(heldout=split == "heldout")]
    rows = []
    for number in range(n):
        place = number % len(all_lines)
        if place == 0:
            rng.shuffle(all_lines)
        head, a, b = all_lines[place]
        rows.append(
            {
                "id": f"{split}-{seed}-{number}",
                "prompt": f"{head}\n{a} + {b}",
                "stop": "\n",
                "answer": str(a + b),
                "item": {"family": "sum_line", "a": a, "b": b},
            }
        )
    return rows


def questions(split: Split, n: int, seed: int, wordings: Split | None = None) -> list[Row]:
    """``n`` prompts of a chat: two sums to one word to be reversed or counted; rows as prompts have them,
    {"id", "prompt": messages, "answer", "item"}. Operands and words are those of ``split``, and so are the
    wordings unless ``wordings`` says otherwise.
    """
    asked = wordings or split
    rng = random.Random(f"questions:{split}:{seed}")
    held = split == "heldout"
    operands, words = sums(held), [word for word in SPELL_WORDS if spell_heldout(word) == held]
    rows = []
    for number in range(n):
        if number % 3 < 2:
            a, b = rng.choice(operands)
            text, answer = _worded("sum", asked, rng, a=a, b=b), str(a + b)
            item: dict[str, Any] = {"family": "sum", "a": a, "b": b}
        else:
            word, task = rng.choice(words), rng.choice(("spell", "spell", "count"))
            text = _worded(task, asked, rng, w=word)
            answer = word[::-1] if task == "spell" else str(len(word))
            item = {"family": "spell", "word": word, "task": task}
        rows.append(
            {
                "id": f"{split}-problem-{seed}-{number}",
                "prompt": [{"role": "user", "content": text}],
                "answer": answer,
                "item": {**item, "split": split, "prompt": text},  # type: ignore[dict-item]
            }
        )
    return rows


def _worded(family: str, split: Split, rng: random.Random, **slots: object) -> str:
    return rng.choice(WORDINGS[family][split]).format(**slots)


def worked_answers(split: Split, n: int, seed: int) -> list[Row]:
    """``n`` demonstrations, {"messages"}: questions as above, answered with their working as on pretraining
    pages.
    """
    rows = []
    for row in questions(split, n, seed):
        answer = _working(row["item"])
        messages = [*row["prompt"], {"role": "assistant", "content": answer}]
        rows.append({"id": row["id"], "messages": messages})
    return rows


def _working(item: Row) -> str:
    if item["family"] == "sum":
        return working(item["a"], item["b"])
    word = item["word"]
    if item["task"] == "count":
        counted = " ".join(f"{letter} {number}" for number, letter in enumerate(word, 1))
        return f"{counted}, so {len(word)}."
    return f"{'-'.join(word)}, backwards {'-'.join(word[::-1])}, {word[::-1]}."
