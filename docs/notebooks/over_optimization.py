"""The source of over_optimization.ipynb; scripts/make_notebooks.py makes the notebook of it and runs it."""

# %% [markdown]
# # Over-optimization, seen
#
# A reward model is a proxy: it agrees with people on most answers, not on all. Whoever maximises it hard enough finds
# the answers that it is wrong about, and what people would say, the *gold* reward, falls behind
# ([Gao et al. 2022](https://arxiv.org/abs/2210.10760)). With real people gold is out of reach. The embedded world has
# one, which nothing that trains may read, so here the gap can be measured.
#
# The reward model is made bad on purpose: it learns from the comparisons of 150 prompts.

# %%
from typing import Any

from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Machine
from posttrain.pipeline.store import Workspace
from posttrain.recipes.instructgpt import instructgpt
from posttrain.settings import expression, parse

small = [
    "demonstrations.rows=1600",
    "sft.epochs=1",
    "pairs.rows=150",
    "pairs.heldout=120",
    "rm.epochs=1",
    "rl.steps=30",
    "rl.prompts_per_step=96",
    "rl.kept_episodes=96",
    "rl.method.minibatches=4",
    "rl.method.kl.coef=0.02",
    "rl.method.kl.power=1",
    "rl.control=fixed_kl",
]
told: Any = expression(instructgpt, parse(small))
workspace, quiet = Workspace("workspace"), Machine(quiet=True)
products = run(told.final, workspace, quiet, accept=None, say=lambda line: None).products
print(f"the reward model agrees with {products['rm'].values['label_accuracy']:.0%} of held-out comparisons")

# %% [markdown]
# ## Best of n: optimization without training
#
# Sample n answers of the tuned model and take the one with the highest reward. Its KL from the tuned model is known
# without measuring it, `log n - (n - 1) / n`: 64 answers are 3.2 nats. It needs no training, and n times the sampling
# for every answer.
#
# One draw of 64 answers to each of 60 prompts gives every smaller n as well: take the best of the first n.

# %%
from posttrain.core.kl import best_of_n
from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.evaluation.gold import judge
from posttrain.models.chat import Chat
from posttrain.models.loading import load_causal_lm
from posttrain.pipeline.stage import Inputs
from posttrain.rewards.learned import LearnedReward
from posttrain.rollouts.sample import scored_groups
from posttrain.storage.jsonl import read_jsonl

most = 64
model, tokenizer = load_causal_lm(products["sft"].path)
prompts = read_jsonl(products["prompts"].path / "heldout.jsonl")[:60]
reward = LearnedReward(model=told.reward_model, missing_eos_penalty=1.0)
inputs = Inputs({}, {id(told.reward_model): products["rm"]})
with reward.open(inputs, quiet) as scorer:
    answers, proxy = scored_groups(
        BuiltinEngine(model),
        Chat(tokenizer),
        prompts,
        scorer,
        Sampling(max_tokens=48),
        most,
        (0, "best of n"),
    )
gold = [[judge(one.prompt, one.response, one.ended).total for one in group] for group in answers]


def chosen(n: int) -> tuple[float, float]:
    """The mean proxy and gold of the best of each n answers, over all prompts and disjoint draws of n."""
    both = []
    for scores, worth in zip(proxy, gold):
        for start in range(0, most, n):
            best = max(range(start, start + n), key=scores.__getitem__)
            both.append((scores[best], worth[best]))
    return sum(p for p, _ in both) / len(both), sum(g for _, g in both) / len(both)


sizes = [1, 2, 4, 8, 16, 32, 64]
drawn = [(best_of_n(n), *chosen(n)) for n in sizes]
for n, (kl, p, g) in zip(sizes, drawn):
    print(f"best of {n:2}: KL {kl:4.2f} nats, proxy {p:5.2f}, gold {g:.1%}")

# %% [markdown]
# ## PPO with a cheap KL
#
# The policy was paid by the same reward model and charged little for going away. Each step kept its answers, so what
# they are worth by gold can be read afterwards.

# %%
from posttrain.evaluation.gold_curve import gold_over_steps

log = {row["step"]: row for row in read_jsonl(products["rl"].path / "metrics.jsonl")}
worth = {
    row["step"]: row["gold"] for row in gold_over_steps(read_jsonl(products["rl"].path / "episodes.jsonl"))
}
trained = [(log[step]["kl"], log[step]["reward"], worth[step]) for step in sorted(log)]
for step in sorted(log)[::5]:
    kl, p, g = trained[step - 1]
    print(f"step {step:2}: KL {kl:5.2f} nats, proxy {p:5.2f}, gold {g:.1%}")

# %%
import math

import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
for axes, place, title in ((left, 1, "proxy: what is maximised"), (right, 2, "gold: what was meant")):
    for points, name in ((drawn, "best of n"), (trained, "PPO")):
        away = [math.sqrt(max(one[0], 0)) for one in points]
        axes.plot(away, [one[place] for one in points], marker=".", label=name)
    axes.set_xlabel("square root of the KL, in nats")
    axes.set_title(title)
    axes.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## How to read it
#
# - **Compare the two panels at the same KL.** The proxy rises all the way. Gold rises with it at first and then falls:
#   from there on more optimization finds only the mistakes of the reward model. PPO with a cheap KL ends worse than the
#   tuned model that it began with, at the highest reward of all.
# - **Best of n is cheap.** Nothing is trained, n is a word to change, and its KL grows only with the logarithm of n. At
#   the same KL it gets more of the proxy than PPO does, so it also shows first where the proxy stops being worth
#   anything: a curve like the blue one costs one sampling run, before any policy is trained.
# - **It is dear to serve**: n answers are made for each that is given. PPO pays once, in training.
# - A real run has no gold. What is left is a KL budget, a reward model that no policy learned from (`judge` on your own
#   data), and reading the answers.
#
# ## What to try
#
# - `pairs.rows=1000`: a better reward model. Where do the panels part now?
# - `rl.method.kl.coef=0.2`, and the adaptive controller that the whole recipe has, `rl.control=adaptive_kl`.
