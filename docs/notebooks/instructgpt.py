"""The source of instructgpt.ipynb; scripts/make_notebooks.py makes the notebook of it and runs it."""

# %% [markdown]
# # InstructGPT, stage by stage
#
# A base model continues text. [InstructGPT](https://arxiv.org/abs/2203.02155) makes it answer, in three steps:
#
# 1. **Instruction tuning** (`sft`): imitate demonstrations of good answers.
# 2. **Reward modelling** (`rm`): learn from comparisons which of two answers people prefer.
# 3. **Reinforcement** (`rl`): PPO raises the learned reward while the policy stays close to the tuned model,
#    `E[r(x, y)] - beta * KL(policy || tuned model)`.
#
# This notebook runs all of it on the embedded model (a million parameters, an invented world of facts, simulated
# annotators) with a fraction of the data and steps, so its metrics are worse than those of the whole recipe, which
# [docs/instructgpt.md](../instructgpt.md) gives with their spread over seeds. `pip install posttrain matplotlib` is
# all that it needs.

# %% [markdown]
# ## A recipe is an expression of stages
#
# `expression` takes the same settings as the command line: `posttrain run instructgpt rl.steps=20 ...`.

# %%
from posttrain.pipeline.stage import addresses
from posttrain.recipes.instructgpt import instructgpt
from posttrain.settings import expression, parse

small = [
    "demonstrations.rows=3200",
    "sft.epochs=1",
    "pairs.rows=800",
    "pairs.heldout=120",
    "rm.epochs=2",
    "rl.steps=20",
    "rl.prompts_per_step=96",
    "rl.method.minibatches=4",
    "evaluate.rows=200",
]
recipe = expression(instructgpt, parse(small))
for address, stage in addresses(recipe).items():
    print(f"{address:16}{type(stage).__name__}")

# %% [markdown]
# `run` makes every product that is not made yet, in that order. A *gate* after each stage asks whether it did its work
# and stops the run where it did not. A run this small may fail some, so `accept=None` lets it pass; what the gates found
# is in the record.

# %%
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Machine
from posttrain.pipeline.store import Workspace

workspace = Workspace("workspace")
made = run(
    recipe,
    workspace,
    Machine(quiet=True),
    recipe="instructgpt",
    overrides=small,
    accept=None,
    say=lambda line: None,
)
for stage in made.record["stages"]:
    for gate in stage.get("findings", []):
        print(f"{stage['address']:10}{gate['name']:26}{'passed' if gate['passed'] else 'FAILED'}")

# %% [markdown]
# ## 1. Instruction tuning
#
# The loss is the negative log-likelihood of the demonstrated answer, in nats a token; the prompt is read and not
# learned. The held-out loss is what counts.

# %%
import matplotlib.pyplot as plt

from posttrain.storage.jsonl import read_jsonl

sft = made.products["sft"]
log = read_jsonl(sft.path / "metrics.jsonl")
plt.figure(figsize=(5, 2.6))
plt.plot([row["step"] for row in log], [row["nll"] for row in log])
plt.axhline(sft.values["nll_heldout"], color="grey", linestyle="--", label="held out, at the end")
plt.xlabel("step")
plt.ylabel("nats per token")
plt.legend()
plt.tight_layout()
plt.show()
print(f"held-out loss before {sft.values['nll_heldout_before']:.2f}, after {sft.values['nll_heldout']:.2f}")

# %% [markdown]
# ## 2. A reward model
#
# The tuned model answers each prompt several times, simulated annotators say which of two answers is better, and a
# scalar head learns to agree: Bradley–Terry, `-log sigmoid(r(chosen) - r(rejected))`. On held-out comparisons a coin
# would agree in half of the cases, and annotators contradict one another, so nothing agrees in all.

# %%
pair = read_jsonl(made.products["labels"].path / "train.jsonl")[0]
print("Q:", pair["prompt"][-1]["content"])
for side in ("chosen", "rejected"):
    print(f"{side}:", pair[side][-1]["content"] if isinstance(pair[side], list) else pair[side])
print(f"\nagrees with {made.products['rm'].values['label_accuracy']:.0%} of held-out comparisons")

# %% [markdown]
# ## 3. Reinforcement: reward against KL
#
# Each step samples answers, scores them with the reward model, and makes a few PPO updates. Two curves belong together:
# the reward, in standard deviations of the tuned model's, and the KL from the tuned model, in nats per answer. A
# reward that rises while the KL stays at 0 is noise; KL that brings no reward is drift.

# %%
log = {row["step"]: row for row in read_jsonl(made.products["rl"].path / "metrics.jsonl")}
steps = sorted(log)
reward, kl = ([log[step][name] for step in steps] for name in ("reward", "kl"))
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
left.plot(steps, reward, label="reward")
left.plot(steps, kl, label="KL, nats")
left.set_xlabel("step")
left.legend()
right.plot(kl, reward, marker="o")
right.set_xlabel("KL from the tuned model, nats")
right.set_ylabel("reward")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Is it better?
#
# The reward model cannot say: it is what was maximised. The embedded world has a *gold* score that nothing that trains
# may read, from 0 to 1, asked here on held-out prompts. `best_of_4` is no training at all: of four answers of the tuned
# model the one that the reward model likes best.

# %%
metrics = made.products["evaluate"].metrics
for name in ("base", "sft", "best_of_4", "final"):
    gold = metrics[f"gold/{name}"]
    print(f"gold of {name:10}{gold.value:6.1%}  [{gold.low:.1%}, {gold.high:.1%}]")
wins = metrics["win_rate/final_vs_sft"]
moved = metrics["kl"].value
print(f"\nfinal against sft: {wins.value:.1%} [{wins.low:.1%}, {wins.high:.1%}], at {moved:.2f} nats")

# %%
for row in read_jsonl(made.products["evaluate"].path / "samples.jsonl")[:3]:
    print("Q:", row["prompt"][-1]["content"])
    for name, answer in row["answers"].items():
        print(f"  {name:6}{answer['text'].strip()!r}  gold {answer['gold']:.2f}")

# %% [markdown]
# ## A second run redoes only what changed
#
# A product is known by its settings and inputs. With another clip range only reinforcement and what follows it would be
# made again; with nothing changed, nothing.

# %%
from posttrain.pipeline.plan import plan

changed = expression(instructgpt, parse([*small, "rl.method.clip_range=0.1"]))
print(
    "to be made:",
    [row.address for row in plan(changed, workspace, Machine(quiet=True)) if row.product is None],
)
again = run(recipe, workspace, Machine(quiet=True), accept=None, say=lambda line: None)
print("made again:", again.made)

# %% [markdown]
# ## What to try
#
# - `rl.method.kl.coef=0.05`: a cheaper KL. What happens to gold? See [over_optimization](over_optimization.ipynb).
# - `pairs.rows=100`: a reward model of fewer comparisons.
# - The whole recipe, in minutes: `posttrain run instructgpt`, then `posttrain report`.
