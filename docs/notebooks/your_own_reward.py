"""The source of your_own_reward.ipynb; scripts/make_notebooks.py makes the notebook of it and runs it."""

# %% [markdown]
# # Your own reward, in ten lines
#
# Reinforcement needs one number for each answer. Where that number comes from is a *reward source*: a learned model, a
# program that checks the answer, or anything that you write. Here: the share of an answer's words that have at most four
# letters.
#
# The reward goes into a file of its own. A product is known by what made it, so when the file changes, what was made
# with it is made again; that needs a file.

# %% file=short_words.py
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from posttrain.rewards.base import all_scored


@dataclass(frozen=True, kw_only=True)
class ShortWords:
    """The share of an answer's words that have at most ``letters`` letters; 0 for one that a limit cut."""

    letters: int = 4

    @contextmanager
    def open(self, inputs, machine):
        yield self

    def score(self, episodes):
        return all_scored(torch.tensor([self.paid(one) for one in episodes]), "short_words")

    def paid(self, episode):
        words = episode.response.split()
        if not words or not episode.ended:
            return 0.0
        return sum(len(word) <= self.letters for word in words) / len(words)


# %% [markdown]
# The fields of the dataclass are its settings. `open` makes what is live (a model, a connection) and closes it again;
# here there is nothing to open. `score` gives a number for each `Episode`, which has the prompt's row, the text of the
# answer, its tokens, and whether it ended by itself. An answer that a limit cut earns nothing: else the policy would
# learn never to stop.
#
# ## A policy that is paid for it
#
# The tuned model is that of InstructGPT, made small. RLOO samples several answers to a prompt and compares each with the
# mean of the others, so it needs no critic. The KL from the tuned model is charged at `coef` a nat.

# %%
from typing import Any

from short_words import ShortWords

from posttrain.core.kl import KLInReward
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Machine
from posttrain.pipeline.store import Workspace
from posttrain.policy_gradients.rloo import RLOO
from posttrain.recipes.instructgpt import instructgpt
from posttrain.settings import expression, parse
from posttrain.stages.rl import Reinforcement

told: Any = expression(instructgpt, parse(["demonstrations.rows=1600", "sft.epochs=1"]))


def paid_for_short_words(coef: float) -> Reinforcement:
    return Reinforcement(
        policy=told.sft,
        prompts=told.prompts,
        reward=ShortWords(letters=4),
        method=RLOO(kl=KLInReward(coef=coef)),
        steps=15,
        prompts_per_step=24,
        group_size=4,
    )


def make(recipe: Reinforcement):
    """The product of reinforcement; gates may fail, since so short a run may learn little."""
    quiet = Machine(quiet=True)
    return run(recipe, Workspace("workspace"), quiet, accept=None, say=lambda line: None).products["rl"]


held, free = make(paid_for_short_words(0.05)), make(paid_for_short_words(0.001))

# %% [markdown]
# ## What it learned
#
# The reward rises. How far, and at what price, is for the KL coefficient to say: both policies were paid for the same,
# one of them hardly paid for going away from the tuned model.

# %%
import matplotlib.pyplot as plt

from posttrain.storage.jsonl import read_jsonl

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
for product, name in ((held, "coef 0.05"), (free, "coef 0.001")):
    log = {row["step"]: row for row in read_jsonl(product.path / "metrics.jsonl")}
    steps = sorted(log)
    left.plot(steps, [log[step]["parts/short_words"] for step in steps], label=name)
    right.plot(steps, [log[step]["kl"] for step in steps], label=name)
left.set_ylabel("share of short words")
right.set_ylabel("KL, nats")
for axes in (left, right):
    axes.set_xlabel("step")
    axes.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# Read the answers too. A reward pays for what it says, not for what you meant: nothing here asks for a true answer.

# %%
for product, name in ((held, "coef 0.05"), (free, "coef 0.001")):
    print(name)
    for row in read_jsonl(product.path / "episodes.jsonl")[-16::4]:
        print(f"  Q: {row['prompt']['prompt'][-1]['content']}\n  A: {row['response'].strip()}")

# %% [markdown]
# ## From the command line
#
# The same reward in a recipe of your own, with settings as words of the command line, is the example of
# [docs/extending.md](../extending.md): `posttrain run ./short_answers.py letters=3`.
#
# ## What to try
#
# - Pay for the opposite, long words, and read the answers again.
# - Pay 1 for every answer that has exactly seven words. What does the group of four need to contain for RLOO to learn
#   anything from it?
