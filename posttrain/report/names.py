"""What the report knows about names: how a quantity is called, its unit, and whether it is a share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Quantity:
    title: str
    unit: str = ""
    share: bool = False  # of one: written in per cent
    positive: bool = False  # an axis may start at zero
    tone: str = "ink"  # a class of the style sheet


# In the order they are drawn in; what is not here comes after, under its own name.
CURVES: dict[str, Quantity] = {
    "reward": Quantity("Reward (proxy)", "as paid in training, mean per completion", tone="proxy"),
    "return": Quantity("Return", "the environment's own reward, mean per play", tone="gold"),
    "gold": Quantity("Gold reward", "share of the attainable maximum", share=True, tone="gold"),
    "kl": Quantity("KL from the reference", "nats per completion", positive=True, tone="kl"),
    "entropy": Quantity("Entropy", "nats per token", positive=True),
    "length": Quantity("Length", "tokens per completion", positive=True),
    "clip_fraction": Quantity("Clip fraction", "share of tokens", share=True, positive=True),
    "truncated": Quantity("Cut off by the limit", "share of completions", share=True, positive=True),
    "flat_groups": Quantity("All paid the same", "share of groups of answers", share=True, positive=True),
    "explained_variance": Quantity("Critic: explained variance", "1 is perfect, 0 the mean"),
    "value_loss": Quantity("Critic: value loss", "half the squared error", positive=True),
    "ratio_max": Quantity("Largest probability ratio", "now to before, one token"),
    "approx_kl": Quantity("KL of one update", "nats per token, before to now", positive=True),
    "sampler_delta_max": Quantity(
        "Sampler against trainer", "largest |Δ log-probability|, nats", positive=True
    ),
    "kl_coef": Quantity("KL coefficient", "reward units per nat", positive=True),
    "reward_std": Quantity("Spread of the reward", "standard deviation over rows", positive=True),
}
FITS: dict[str, Quantity] = {
    "loss": Quantity("Loss", "mean of the objective", positive=True),
    "pair_loss": Quantity("Pairwise loss", "nats per pair, ln 2 is a guess", positive=True),
    "nll": Quantity("Negative log-likelihood", "nats per token", positive=True),
    "accuracy": Quantity("Accuracy", "share of pairs", share=True),
    "margin": Quantity("Margin", "chosen less rejected score"),
}
ALIASES = {
    "proxy": "reward",
    "entropy_before": "entropy",
    "response_length": "length",
    "gold_reward": "gold",
    "clipfrac": "clip_fraction",
    "sft_loss": "loss",
}
_SHARES = re.compile(
    r"^(win|tie|accuracy|agreement|gold|ended|ends|truncated|clip_fraction|dropped_share|share|fraction|rate|"
    r"control|label_control|label_accuracy|facts|continues|annotators?|solved|correct|pass)($|[/_@.])|(_rate|_share|_fraction|_accuracy|_ended)($|/)"
)
_NEVER = re.compile(
    r"(^|[/_])(kl|nll|loss|seconds|std|words|tokens|rows|pairs|n|count|coef|margin|gap|change|ratio|length|entropy)"
    r"($|[/_])|^reward($|/|_final$|_start$)|_ties$|^return($|/)"
)
UNITS = (
    (re.compile(r"(^|/)kl($|[/_])"), "nats per completion"),
    (re.compile(r"nll|perplexity_log"), "nats per token"),
    (re.compile(r"(^|[/_])(words)($|[/_])"), "words"),
    (re.compile(r"(^|[/_])(tokens|length)($|[/_])"), "tokens"),
    (re.compile(r"(^|[/_])seconds($|[/_])"), "seconds"),
    (re.compile(r"^reward/"), "the reward model's own scale"),
)
COUNTS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
# What a stage does, for its usual addresses; another shows the name of its class.
STAGES = {
    "base": "base model",
    "demonstrations": "answers by demonstrators",
    "prompts": "prompts",
    "comparisons": "comparisons",
    "sft": "instruction tuning",
    "pairs": "answers in pairs",
    "labels": "preferences",
    "rm": "reward model",
    "sft_4x": "on four times the data",
    "demonstrations_4x": "four times as many",
    "rm_shuffled": "on shuffled labels",
    "rl": "reinforcement",
    "alignment": "direct alignment",
    "evaluate": "evaluation",
    "judge": "a reward model to judge with",
    "judge_comparisons": "comparisons for the judge",
    "policy_comparisons": "comparisons to align with",
}
# Figures whose names are short for something that a reader need not know.
WORDS = {
    "kl": "KL from the reference",
    "kl_final": "KL from the reference, last steps",
    "nll": "loss",
    "nll_heldout": "held-out loss",
    "nll_heldout_before": "held-out loss before",
    "nll_ratio_4x": "held-out loss, with four times the demonstrations relative to without",
    "reward_final": "reward, last steps",
    "return_final": "return, last steps",
    "gold_ties": "pairs that gold ties",
    "component_change_worst": "smallest change of a component of gold",
    "prompts_too_long": "prompts left out as too long",
    "prompts_also_trained_on": "held-out prompts that were trained on too",
    "entropy_before": "entropy",
    "ratio_start": "probability ratio in the first update",
    "sampler_delta_max": "sampler against trainer, largest difference of log-probabilities",
    "sampler_delta_mean": "the same, largest mean of a step",
    "equal": "pairs left out as equal",
    "too_long": "left out as too long",
    "heldout_rows": "held-out rows",
    "heldout_ties": "held-out ties",
    "heldout_equal": "held-out pairs left out as equal",
    "heldout_too_long": "held-out, left out as too long",
    "heldout_ended": "held-out answers that ended by themselves",
    "ended": "answers that ended by themselves",
    "krippendorff_alpha": "Krippendorff's alpha",
    "agreement": "annotators who agree on a pair",
    "facts_heldout": "held-out facts completed in plain text",
    "label_accuracy": "agreement with held-out labels",
    "label_accuracy_change": "change of the agreement with held-out labels",
    "implicit_accuracy": "agreement of the implicit reward with held-out labels",
    "judge_win_rate": "win rate by the judge",
    "judge_accuracy": "agreement of the judge with held-out labels",
    "judge_change": "change of the judge's score",
    "judge_score": "score by the judge",
    "label_control": "control",
}
ORDER = ("base", "sft", "", "rl", "final")  # what has another name, such as best_of_4, is in the middle
CONTROL = re.compile(
    r"(_shuffled|_4x|_control|^control.*)(\[\d+\])?$"
)  # addresses of stages made to compare with
MODELS = {"sft": "SFT", "rl": "final", "rm": "reward model", "rlhf": "RLHF", "ppo": "PPO", "dpo": "DPO"}


def canonical(name: str) -> str:
    return ALIASES.get(name, name)


def curve(name: str) -> Quantity:
    """How a curve is drawn; one nobody named has its own name."""
    name = canonical(name)
    known = CURVES.get(name) or FITS.get(name)
    if known:
        return known
    part = name.removeprefix("parts/")
    return Quantity(readable(part), unit(name), share=is_share(name))


def is_share(name: str, *values: float) -> bool:
    """Whether a figure is a share of one, going by its name; its values must allow it.

    A count is an int and no share. What has an interval inside 0..1 is one, unless its name speaks against
    it.
    """
    if any(isinstance(value, int) or not 0 <= value <= 1 for value in values):
        return False
    if name.startswith(("control/", "label_control/", "annotators/")):
        return True
    return bool(len(values) > 1 or _SHARES.search(name)) and not _NEVER.search(name)


def unit(name: str) -> str:
    if re.search(r"(^|[/_])ratio($|[/_])", name):
        return ""
    return next((words for pattern, words in UNITS if pattern.search(name)), "")


def model(name: str) -> str:
    """``best_of_4`` is best of 4, ``sft`` is SFT."""
    return MODELS.get(name, name.replace("_", " "))


def rank(name: str) -> int:
    """Models in the order they were made in: ``gold/base`` before ``gold/sft`` before ``gold/final``."""
    model_of = name.partition("/")[2].partition("/")[0]
    return ORDER.index(model_of) if model_of in ORDER else ORDER.index("")


def readable(name: str) -> str:
    """``win_rate/final_vs_sft`` is win rate: final vs SFT; what has words of its own is said in them."""
    stem, slash, rest = name.partition("/")
    if stem in WORDS:
        return WORDS[stem] + (f": {readable(rest)}" if slash else "")
    parts = [" vs ".join(model(side) for side in part.split("_vs_")) for part in name.split("/")]
    if len(parts) == 1:
        return parts[0]
    return f"{parts[0]}: {', '.join(parts[1:])}"


def stage(address: str, kind: str, settings: Mapping[str, Any] | None = None) -> str:
    """What a stage does in a few words, from its address or else its class; how much, from its settings."""
    stem = re.sub(r"\[\d+\]$", "", address)
    answers = (settings or {}).get("answers")
    if stem == "pairs" and isinstance(answers, int):
        return f"{COUNTS.get(answers, answers)} answers a prompt, in pairs"
    known = STAGES.get(stem)
    if known:
        return known
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.rpartition(".")[2])
    return words.lower()
