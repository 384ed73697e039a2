"""Tasks of reasoning-gym (Stojanovski et al. 2025): prompts with a known generator, and what its scorer makes
of an answer.

A row keeps how its task was generated; the scorer is given the entry as it was generated again, since JSON
would not bring back its tuples and numbers.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from posttrain.data.rows import Row
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.values import nearest

# scorers that evaluate the answer as Python, or as sympy, which does
EVALUATES = frozenset(
    {
        "binary_matrix",
        "countdown",
        "intermediate_integration",
        "n_queens",
        "number_sorting",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
        "spiral_matrix",
        "string_insertion",
    }
)
# generators that ask another question in another process, for the same seed
UNSTABLE = frozenset({"isomorphic_strings", "polynomial_multiplication", "ransom_note"})
FUNCTIONS = frozenset(
    {"sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "exp", "log", "ln", "sqrt", "pi"}
)


def check_tasks(tasks: Sequence[str]) -> None:
    """Raises UserError where reasoning-gym is not installed, or has no such task."""
    try:
        from reasoning_gym.factory import DATASETS
    except ImportError:
        raise UserError(
            "tasks of reasoning-gym need it installed; `pip install 'posttrain[reasoning-gym]'`"
        ) from None
    if not tasks:
        raise UserError(f"no task is named; there is {', '.join(sorted(DATASETS))}")
    for task in tasks:
        if task not in DATASETS:
            raise UserError(f"reasoning-gym has no task {task!r}{nearest(task, DATASETS)}")
        if task in UNSTABLE or task == "composite":
            raise UserError(
                f"reasoning-gym's task {task} cannot be generated a second time as it was, so nothing can be "
                "verified; take another"
            )


def entry(task: str, seed: int, index: int) -> dict[str, Any]:
    """The generator's {"question", "answer", "metadata"}."""
    return dict(_dataset(task, seed, index)[index])


def tasks_of(tasks: Sequence[str], rows: int, seed: int, instruction: str) -> Iterator[Row]:
    """``rows`` prompts, the tasks in turn: {"id", "prompt": messages, "gym"}, and "answer" where the
    generator has one.
    """
    for row in range(rows):
        task, index = tasks[row % len(tasks)], row // len(tasks)
        made = entry(task, seed, index)
        question = str(made["question"]).strip()
        asked = f"{question}\n\n{instruction}" if instruction else question
        answer = {} if made.get("answer") is None else {"answer": str(made["answer"])}
        yield {
            "id": f"{task}-{seed}-{index}",
            "prompt": [{"role": "user", "content": asked}],
            "gym": {"task": task, "seed": seed, "index": index, "question": question},
            **answer,
        }


@lru_cache(maxsize=4)
def generated(task: str, seed: int, index: int) -> tuple[Any, dict[str, Any]]:
    """The generator and its entry, kept while answers to the same task come one after the other."""
    dataset = _dataset(task, seed, index)
    return dataset, dataset[index]


def again(task: str, seed: int, index: int, question: str, response: str) -> tuple[Any, dict[str, Any]]:
    """The task generated anew, as ``score``'s first argument. Some generators take seconds, which must not
    count as the answer's time.
    """
    return generated(task, seed, index)


def score(
    task_again: tuple[Any, dict[str, Any]], task: str, seed: int, index: int, question: str, response: str
) -> float:
    """What the task's scorer gives, from 0 to 1; 0 for an answer that it would run as code.

    Raises ValueError where the generator makes another question of the same numbers.
    """
    dataset, made = task_again
    if str(made["question"]).strip() != question:
        raise ValueError("this version of reasoning-gym makes another question of the same numbers")
    gold = str(made.get("answer")).strip()  # one may hold an Integral; from anybody else that says nothing
    if task in EVALUATES and response.strip() != gold and not harmless(response):
        return 0.0
    return min(max(float(dataset.score_answer(response, made)), 0.0), 1.0)


def harmless(text: str) -> bool:
    """Whether evaluating it as Python computes at most: it is a literal, calls nothing, or calls nothing but
    functions of mathematics.
    """
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        pass
    else:
        return True
    if "(" not in text:
        return True
    names = re.findall(r"[^\W\d]\w*", text)
    plain = not re.search(r"[\"'`\[\]{}_:;@\\]|\.\s*[^\W\d]|\d\.\s*\(", text)
    return plain and all(len(name) == 1 or name in FUNCTIONS for name in names)


def prepare() -> None:
    """Imports what a call needs. Raises ImportError where reasoning-gym is not installed."""
    import reasoning_gym  # noqa: F401


def _dataset(task: str, seed: int, index: int) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(task, seed=seed, size=index + 1)
