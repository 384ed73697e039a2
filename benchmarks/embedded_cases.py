"""Which settings each method has on the embedded task where its own would not do, and why."""

from __future__ import annotations

from dataclasses import dataclass

ADDRESS = {"policy_gradients": "rl", "direct_alignment": "alignment"}
RECIPE = {"policy_gradients": "instructgpt", "direct_alignment": "dpo"}
SMALLER = ("pairs.rows=1000", "rl.steps=30", "evaluate.rows=400", "evaluate.best_of=1")
TEACHER = "TEACHER"  # in a setting: the directory of the policy that the case ``after`` made


@dataclass(frozen=True)
class Case:
    """A method with settings. ``because`` says why they are not the method's own, ``fails`` why gold does not
    rise where it was measured not to."""

    folder: str
    method: str
    settings: tuple[str, ...] = ()
    because: str = ""
    fails: str = ""
    label: str = ""
    after: str = ""

    @property
    def title(self) -> str:
        return f"{self.method} {self.label}".strip()

    def wishes(self, seed: int, whole: bool, teacher: str = "") -> list[str]:
        """What is typed after ``posttrain run RECIPE``; ``whole``: the recipe's own sizes."""
        address = ADDRESS[self.folder]
        settings = [setting.replace(TEACHER, teacher) for setting in self.settings]
        sizes = [] if whole else [s for s in SMALLER if address == "rl" or not s.startswith("rl.")]
        return [f"{address}.method={self.method}", *settings, *sizes, f"seed={seed}"]


def gradient(method: str, *settings: str, because: str = "", **more: str) -> Case:
    return Case("policy_gradients", method, settings, because, **more)


def direct(method: str, *settings: str, because: str = "", **more: str) -> Case:
    return Case("direct_alignment", method, settings, because, **more)


PRICE = ("rl.method.kl.coef=0.3", "rl.method.kl.power=3")
IN_REWARD = ("rl.method.kl=kl_in_reward", *PRICE)
PRICED = "the recipe's price of KL, from its sharper reference, in place of 0.05 from the plain one"
UNPAID = "the paper charges no KL, and a learned reward is wrong far from where it was learned"
ONLINE = ("rl.method.alignment.beta=0.3",)
SURE = "0.3 in place of 0.1: the recipe's price of KL, though not from a sharper reference"
RUNS_AWAY = "nothing holds the policy where the learned reward is right"
NO_ANCHOR = (
    "no reference, and gaps per token: the margin is cheapest to reach by short answers and by making the "
    "loser's tokens unlikely, right or wrong"
)
HINGE = (
    "a hinge on log-probabilities of whole answers without a reference asks every pair for one gap, however "
    "long the answers and however sure the annotators"
)
DOWN = (
    "it lowers both answers of a pair, and these pairs are the policy's own: what it could say is made "
    "unlikely and nothing better is put in its place"
)

CASES: tuple[Case, ...] = (
    gradient(
        "ppo",
        *PRICE,
        "rl.method.epochs=1",
        "rl.method.minibatches=8",
        because="what the recipe has",
    ),
    gradient("grpo", *IN_REWARD, because="KL in the loss beside a reward that is divided by its deviation"),
    gradient("rloo", *PRICE, because=PRICED),
    direct("dpo"),
    direct("kto"),
    gradient("online_dpo", *ONLINE, because=SURE),
    gradient("reinforce", *PRICE, because=PRICED),
    gradient("a2c", *PRICE, because=PRICED),
    gradient("remax", *PRICE, because=PRICED),
    gradient("dr_grpo", *IN_REWARD, because=UNPAID),
    gradient("dapo", *IN_REWARD, because=UNPAID),
    gradient("gspo", *IN_REWARD, because=UNPAID),
    gradient("cispo", *IN_REWARD, because=UNPAID),
    gradient("sapo", *IN_REWARD, because=UNPAID),
    gradient("reinforce_plus_plus", *PRICE, because=PRICED),
    gradient(
        "reinforce_plus_plus_baseline",
        *IN_REWARD,
        because="KL in the loss gets cheaper as the batch's deviation shrinks",
    ),
    gradient("xpo", *ONLINE, because=SURE),
    gradient("nash_md", *PRICE, because=PRICED),
    gradient(
        "on_policy_distillation",
        f"teacher={TEACHER}",
        "rl.control=fixed_kl",
        because="taught by what ppo made; the recipe's control of KL would steer by the KL from the teacher",
        after="ppo",
    ),
    direct("robust_dpo"),
    direct("c_dpo"),
    direct("ipo"),
    direct("apo_zero"),
    direct("orpo"),
    direct("cpo"),
    direct("simpo", fails=NO_ANCHOR),
    direct("slic", fails=HINGE),
    direct("apo_down", fails=DOWN),
    gradient("grpo", label="as published", fails=RUNS_AWAY),
    gradient("dapo", label="as published", fails=RUNS_AWAY),
    gradient("dr_grpo", label="as published", fails=RUNS_AWAY),
    gradient("gspo", label="as published", fails=RUNS_AWAY),
    gradient("cispo", label="as published", fails=RUNS_AWAY),
    gradient("sapo", label="as published", fails=RUNS_AWAY),
    gradient("reinforce_plus_plus_baseline", label="as published", fails=RUNS_AWAY),
)
