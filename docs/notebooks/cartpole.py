"""The source of cartpole.ipynb; scripts/make_notebooks.py makes the notebook of it and runs it."""

# %% [markdown]
# # CartPole and a thermostat, by the loop that trains language
#
# Reinforcement of a language model is reinforcement: states, actions, rewards, a policy gradient. Here the loop, the
# records and PPO are those that InstructGPT uses; the environment is a pole on a cart, then a room that is to be kept
# warm, and the policy is a small network.

# %%
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Machine, addresses
from posttrain.pipeline.store import Workspace
from posttrain.recipes.cartpole import cartpole
from posttrain.recipes.thermostat import thermostat
from posttrain.settings import expression, parse

workspace, quiet = Workspace("workspace"), Machine(quiet=True)
recipe = expression(cartpole, parse(["rl.steps=20"]))
rl = addresses(recipe)["rl"]
print(f"{type(rl.environment).__name__} by {type(rl.method).__name__}: {rl.steps} steps of {rl.starts} plays")

# %% [markdown]
# ## CartPole
#
# A play is paid 1 for every step that the pole stands, 500 at most. PPO's clipped objective is the same as for text,
# `min(ratio * A, clip(ratio, 1 - eps, 1 + eps) * A)`; what differs is where rewards come from (each step here, the end
# of an answer there) and that there is no reference to stay close to (`kl.coef` is 0).

# %%
import matplotlib.pyplot as plt

from posttrain.storage.jsonl import read_jsonl

balanced = run(recipe, workspace, quiet, accept=None, say=lambda line: None).products
log = {row["step"]: row for row in read_jsonl(balanced["rl"].path / "metrics.jsonl")}
steps = sorted(log)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
left.plot(steps, [log[step]["return"] for step in steps])
left.set_ylabel("return of a play")
right.plot(steps, [log[step]["entropy_before"] for step in steps], label="entropy, nats")
right.plot(
    steps, [log[step]["explained_variance"] for step in steps], label="variance explained by the critic"
)
right.set_ylim(-0.5, 1.05)
right.legend()
for axes in (left, right):
    axes.set_xlabel("step")
figure.tight_layout()
plt.show()

metrics = balanced["evaluate"].metrics
for name in ("random", "policy", "greedy"):
    earned = metrics[f"return/{name}"]
    print(f"{name:8}{earned.value:6.1f}  [{earned.low:.1f}, {earned.high:.1f}]")

# %% [markdown]
# While play gets longer the critic explains most of what differs between returns. Once every play lasts to the limit
# there is hardly anything left to explain, and the advantages that remain are noise.
#
# ## A thermostat: a task whose best policy is known
#
# The room cools and is heated: off, low or high. Comfort is paid, heating costs. It never ends; play is cut after 40
# steps, and what a cut play would still have earned is the critic's estimate (*bootstrapping*). Taken for an end in
# place of a cut, the future would be worth nothing, and the policy would learn to save heating before the cut.
#
# With 15 temperatures and 3 actions value iteration finds the optimum, so the share of it that PPO reaches is a metric.

# %%
heated = run(thermostat(), workspace, quiet, accept=None, say=lambda line: None).products
values = heated["evaluate"].values
log = {row["step"]: row for row in read_jsonl(heated["rl"].path / "metrics.jsonl")}
degrees = [int(name.partition("/")[2]) for name in values if name.startswith("action/")]
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
left.plot(sorted(log), [log[step]["return"] for step in sorted(log)])
left.set_xlabel("step")
left.set_ylabel("return of a play")
right.bar(degrees, [values[f"action/{one}"] for one in degrees])
right.set_xticks(degrees[::2])
right.set_xlabel("degrees in the room; 20 are wanted")
right.set_ylabel("mean heating")
figure.tight_layout()
plt.show()
print(f"{values['share_of_optimum']:.2%} of what the best policy earns")

# %% [markdown]
# ## What carries over to language
#
# | here | a language model |
# |---|---|
# | a state | the prompt and the tokens so far |
# | an action | the next token |
# | a play | an answer |
# | the reward of each step | the reward model's score, at the last token |
# | the limit of 500 steps | `max_completion_length` |
# | no reference | KL from the instruction-tuned model, charged in the reward |
#
# [From RL to RLHF](../from_rl_to_rlhf.md) walks that way in seven rows, one change at a time;
# [classic control](../classic.md) has A2C, REINFORCE, Gymnasium's environments and rewards learned from comparisons.
#
# ## What to try
#
# - `expression(cartpole, parse(["method=reinforce"]))`: no critic. How many more plays does it need?
# - `rl.method.epochs=1`: one epoch on each batch. `rl.method.clip_range=0.5`: hardly any clipping.
