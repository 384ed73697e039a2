"""What each recipe's page quotes: the command, the figures, and the intervals that the page gives them."""

from __future__ import annotations

from dataclasses import dataclass

PER_CENT, POINTS, PLAIN = (100.0, 1, " %"), (100.0, 1, ""), (1.0, 2, "")  # factor, digits, unit


@dataclass(frozen=True)
class Quoted:
    """A figure of a page. ``interval``: from the lowest to the highest bound that the page gives for it, in
    the table's unit; None where the page gives no interval.
    """

    name: str  # ADDRESS.FIGURE
    label: str
    shown: tuple[float, int, str] = PER_CENT
    interval: tuple[float, float] | None = None

    def value(self, figure: float) -> float:
        """The figure in the table's unit."""
        return figure * self.shown[0]


@dataclass(frozen=True)
class Case:
    """A run of a recipe. ``minutes``: of one processor at 130 GFLOP/s, after the cases that come before it.
    ``elsewhere``: the command that measures it, where this bench does not.
    """

    title: str
    page: str  # docs/PAGE.md
    recipe: str
    settings: tuple[str, ...] = ()
    figures: tuple[Quoted, ...] = ()
    minutes: float = 1.0
    elsewhere: str = ""

    @property
    def key(self) -> str:
        """As it is named on the command line and in the results."""
        return self.title.replace(" ", "_")

    def wishes(self, seed: int) -> list[str]:
        return [*self.settings, f"seed={seed}"]


def gold(*models: tuple[str, tuple[float, float] | None]) -> tuple[Quoted, ...]:
    return tuple(Quoted(f"evaluate.gold/{name}", f"gold of `{name}`", interval=span) for name, span in models)


def solved(*models: tuple[str, str, tuple[float, float] | None]) -> tuple[Quoted, ...]:
    """Problems solved: name, label, interval."""
    return tuple(Quoted(f"evaluate.solved/{name}", label, interval=span) for name, label, span in models)


def nats(*models: str) -> tuple[Quoted, ...]:
    return tuple(Quoted(f"evaluate.kl/{name}", f"KL(`{name}` ‖ `sft`), nats", PLAIN) for name in models)


def change(name: str, label: str, interval: tuple[float, float] | None) -> Quoted:
    return Quoted(f"evaluate.{name}", f"{label}, points", POINTS, interval)


def wins(name: str, label: str, interval: tuple[float, float] | None = None) -> Quoted:
    return Quoted(f"evaluate.win_rate/{name}", f"{label}, win + ½ tie", interval=interval)


NONE = None
WHOLE = (
    Quoted("sft.nll_heldout", "SFT: held-out NLL, nats per token", (1.0, 3, "")),
    Quoted("evaluate.ends/sft", "SFT: answers that end by themselves"),
    *gold(("base", NONE), ("sft", NONE), ("best_of_4", NONE), ("final", NONE)),
    Quoted("evaluate.accuracy", "reward model against gold, all untied pairs", interval=(75.1, 79.8)),
    Quoted("evaluate.accuracy/clear", "the same, clear pairs", interval=(78.4, 85.2)),
    Quoted("evaluate.annotators", "beside it: mean single annotator"),
    Quoted("evaluate.control/word_count", "beside it: word count"),
    wins("final_vs_sft", "**final against SFT**", (68.5, 78.9)),
    wins("final_vs_best_of_4", "final against best-of-4", (54.4, 64.3)),
    Quoted("evaluate.kl", "KL(final ‖ SFT), nats", PLAIN, (2.53, 2.87)),
    change("component_change_worst", "smallest change of a gold component", NONE),
)
POLICIES = tuple(f"rl_{n}" for n in range(1, 5))
CASES: tuple[Case, ...] = (
    Case("instructgpt", "instructgpt", "instructgpt", figures=WHOLE, minutes=5),
    Case(
        "instructgpt controls",
        "instructgpt",
        "instructgpt",
        ("evidence=full",),
        (
            Quoted("sft_4x.nll_heldout", "four times the demonstrations: held-out NLL", (1.0, 3, "")),
            Quoted("evaluate.control/shuffled", "shuffled labels: agreement with gold"),
        ),
        minutes=3,
    ),
    Case(
        "instructgpt plain",
        "instructgpt",
        "instructgpt",
        ("objective=plain",),
        (
            *gold(("sft", NONE), ("final", NONE)),
            wins("final_vs_sft", "**final against SFT**"),
            wins("final_vs_best_of_4", "final against best-of-4"),
            Quoted("evaluate.kl", "KL(final ‖ SFT), nats", PLAIN),
            change("component_change_worst", "smallest change of a gold component", NONE),
        ),
        minutes=2.5,
    ),
    Case(
        "best_of_n",
        "best_of_n",
        "best_of_n",
        ("evidence=full",),
        (
            *gold(("sft", (34.9, 41.4)), ("best_of_n", (54.0, 61.1)), ("random_control", (32.7, 38.5))),
            change(
                "gold_change/best_of_n_vs_random_control", "**`best_of_n` − `random_control`**", (17.1, 27.1)
            ),
            wins("best_of_n_vs_sft", "wins of `best_of_n` against `sft`", (62.4, 72.1)),
            *nats("best_of_n", "random_control"),
        ),
        minutes=2,
    ),
    Case(
        "dpo",
        "methods/dpo",
        "dpo",
        (),
        (
            Quoted("alignment.label_accuracy", "sides with the annotators, held-out labels"),
            *gold(("sft", NONE), ("final", NONE)),
            wins("final_vs_sft", "**final against SFT**"),
            Quoted("evaluate.kl", "KL(final ‖ SFT), nats", PLAIN),
        ),
        minutes=2,
    ),
    Case(
        "tulu3",
        "tulu3",
        "tulu3",
        (),
        (
            *gold(("sft", NONE), ("alignment", NONE), ("rl", NONE)),
            change("gold_change/alignment_vs_sft", "**gold, `alignment` − `sft`**", (11.2, 17.5)),
            change("gold_change/rl_vs_alignment", "gold, `rl` − `alignment`", (-2.7, 4.2)),
            *solved(
                ("sft", "solved after `sft`", NONE),
                ("alignment", "solved after `alignment`", NONE),
                ("rl", "solved after `rl`", NONE),
            ),
            change("solved_change/rl_vs_alignment", "**solved, `rl` − `alignment`**", (4.8, 16.2)),
            *solved(
                ("rl/sum", "sums solved after `rl`", (93.0, 97.3)),
                ("rl/spell", "words solved after `rl`", (14.9, 26.9)),
            ),
            change(
                "component_change_worst/alignment_vs_sft", "least change of a component, `alignment`", NONE
            ),
            change("component_change_worst/rl_vs_alignment", "least change of a component, `rl`", NONE),
            *nats("alignment", "rl"),
        ),
        minutes=5,
    ),
    Case(
        "deepseek_r1_zero",
        "deepseek_r1_zero",
        "deepseek_r1_zero",
        ("evidence=full",),
        (
            Quoted("evaluate.pass@1/base", "base: pass@1", interval=(13.8, 16.7)),
            Quoted("evaluate.pass@64/base", "base: pass@64"),
            *solved(
                ("base", "base: one answer", (13.3, 19.4)),
                ("final", "**final**", (95.0, 98.7)),
                ("sft_verified", "`sft_verified`", (95.6, 99.0)),
                ("random_control", "`random_control`", (0.0, 1.8)),
                ("format_control", "`format_control`", (1.0, 5.2)),
            ),
            change("solved_change/final_vs_sft_verified", "final − `sft_verified`", (-3.4, 2.1)),
            Quoted("evaluate.length_start", "tokens an answer, first step", (1.0, 1, "")),
            Quoted("evaluate.length_final", "tokens an answer, last step", (1.0, 1, "")),
        ),
        minutes=20,
    ),
    Case(
        "deepseek_r1",
        "deepseek_r1",
        "deepseek_r1",
        (),
        (
            *solved(
                ("sft/sum", "sums solved: `sft`", (1.2, 5.5)),
                ("cold_start/sum", "`cold_start`", (66.4, 93.6)),
                ("reasoning_rl/sum", "`reasoning_rl`", (93.6, 98.0)),
                ("r1_sft/sum", "`r1_sft`", (95.4, 99.0)),
                ("rl/sum", "**`rl`**", (96.1, 99.6)),
                ("rl/spell", "words solved after `rl`", (16.9, 33.9)),
            ),
            *gold(
                ("sft", (34.9, 41.4)),
                ("cold_start", NONE),
                ("reasoning_rl", NONE),
                ("r1_sft", NONE),
                ("rl", (56.5, 61.7)),
            ),
            change("gold_change/rl_vs_sft", "gold, `rl` − `sft`", (17.4, 24.6)),
        ),
        minutes=15,
    ),
    Case(
        "rounds",
        "rounds",
        "rounds",
        ("evidence=full",),
        (
            *gold(("sft", NONE), *((name, NONE) for name in POLICIES), ("frozen_control", NONE)),
            change("gold_slope", "**slope of gold**, a round", (3.0, 6.8)),
            change("gold_change/rl_4_vs_frozen_control", "**last − frozen**", (2.3, 11.6)),
            *nats("rl_1", "rl_4", "frozen_control"),
        ),
        minutes=17,
    ),
    Case(
        "iterated_dpo",
        "rounds",
        "iterated_dpo",
        ("evidence=full",),
        (
            *gold(("sft", NONE), *((f"alignment_{n}", NONE) for n in range(1, 4)), ("frozen_control", NONE)),
            change("gold_slope", "**slope of gold**, a round", NONE),
            change("gold_change/alignment_3_vs_frozen_control", "**last − frozen**", NONE),
        ),
        minutes=8,
    ),
    Case(
        "forgetting",
        "forgetting",
        "instructgpt",
        ("ptx=0.4", "evidence=full"),
        (
            *(
                Quoted(f"evaluate.text_nll/{name}", f"held-out text, nats per token: {label}", (1.0, 3, ""))
                for name, label in (
                    ("base", "the base"),
                    ("sft", "after `sft`"),
                    ("plain_control", "after PPO without the mix"),
                    ("rl", "**after PPO-ptx**"),
                )
            ),
            *gold(("sft", NONE), ("plain_control", NONE), ("rl", NONE)),
            change("gold_change/rl_vs_plain_control", "**PPO-ptx − PPO**", (-3.7, 4.2)),
            *nats("plain_control", "rl"),
        ),
        minutes=7,
    ),
    Case(
        "thermostat",
        "classic",
        "thermostat",
        (),
        (Quoted("evaluate.share_of_optimum", "share of the optimum", (100.0, 2, " %")),),
        minutes=0.1,
    ),
    *(
        Case(
            f"cartpole {method}",
            "classic",
            "cartpole",
            (f"method={method}",),
            (Quoted("evaluate.return/policy", "mean return of 100 plays, sampled", (1.0, 0, "")),),
            minutes=0.5,
        )
        for method in ("ppo", "a2c", "reinforce")
    ),
    Case(
        "from_rl_to_rlhf",
        "from_rl_to_rlhf",
        "from_rl_to_rlhf",
        (),
        tuple(
            Quoted(f"table.return_final/{row}", f"return at the end: {row.replace('_', ' ')}", PLAIN)
            for row in (
                "environment_reward",
                "learned_reward",
                "no_transition",
                "one_action",
                "reward_at_the_end",
                "horizon_1",
                "more_turns",
            )
        ),
        minutes=2,
    ),
    Case(
        "cartpole_from_preferences",
        "classic",
        "cartpole_from_preferences",
        elsewhere="benchmarks/bench_cartpole_preferences.py, on 40 seeds",
    ),
    Case(
        "environment",
        "classic",
        "environment",
        elsewhere="benchmarks/bench_gymnasium.py, three seeds an environment",
    ),
    Case(
        "instructgpt smollm2",
        "smollm2",
        "instructgpt",
        ("model=smollm2",),
        elsewhere="posttrain run instructgpt model=smollm2 seed=N, up to 40 minutes a seed",
    ),
)
