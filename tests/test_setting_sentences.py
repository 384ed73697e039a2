"""Every setting has a sentence, is shown as a user types it, and is accepted as shown."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
import typing
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from posttrain import settings
from posttrain.cli import find_recipe, recipes
from posttrain.cli.recipe_help import COLUMN, recipe_help
from posttrain.core.kl import KLInReward, k3
from posttrain.models.lora import Lora
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import alternatives
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import LABELS, Stage, addresses, nested
from posttrain.policy_gradients.ppo import PPO
from posttrain.settings.declared import declared_type
from posttrain.settings.listing import Setting, as_typed, settings_of
from posttrain.settings.sentences import field_sentences, parameter_sentences

METHODS = ("policy_gradients", "direct_alignment", "reward_losses")
BY_NAME = (*METHODS, "rewards", "environments")


# with words that make every kind of stage, and every kind of tuple, that a recipe may have
OWN = ("base=somewhere", "demonstrations=a.jsonl", "comparisons=b.jsonl")
VARIANTS = [
    ("instructgpt", ("evidence=full", "ptx=1")),
    ("instructgpt", ("evidence=full", "model=smollm2")),
    ("instructgpt", (*OWN, "ptx=1", "text=t.jsonl", "evidence=full")),
    ("instructgpt", (*OWN, "teacher=elsewhere")),
    ("best_of_n", ("evidence=full",)),
    ("best_of_n", OWN),
    ("dpo", ("ratings=r.jsonl",)),
    ("dpo", OWN),
    ("tulu3", ("model=smollm2",)),
    ("tulu3", (*OWN, "problems=p.jsonl")),
    ("deepseek_r1", ("model=smollm2",)),
    ("deepseek_r1_zero", ("evidence=full",)),
    ("deepseek_r1_zero", ("model=smollm2", "problems=reasoning_gym:leg_counting")),
    *(
        ("rounds", (f"by={by}", "count=2", "evidence=full"))
        for by in ("ppo", "dpo", "scored_dpo", "rejection")
    ),
    ("cartpole", ("method=a2c",)),
]
EVERY = [*((name, ()) for name in recipes()), *VARIANTS]
# what may be chosen by name: the field, and a recipe that has it
CHOSEN: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("policy_gradients", "rl.method", "instructgpt", ()),
    ("direct_alignment", "alignment.method", "dpo", ()),
    ("reward_losses", "rm.method", "instructgpt", ()),
    ("rewards", "rl.reward", "deepseek_r1_zero", ()),
    ("environments", "rl.environment", "cartpole", ()),
]


def of_recipe(name: str, words: tuple[str, ...]) -> Iterator[tuple[str, type, Setting]]:
    """Address, class of the stage and setting of all that a recipe shows."""
    for address, stage in addresses(settings.expression(find_recipe(name), settings.parse(words))).items():
        for setting in settings_of(stage):
            yield address, type(stage), setting


@pytest.mark.parametrize(("name", "words"), EVERY)
def test_help_shows_a_sentence_for_every_setting(name: str, words: tuple[str, ...]) -> None:
    recipe = find_recipe(name)
    assert [f"{a}.{s.name}" for a, _, s in of_recipe(name, words) if not s.sentence] == []
    assert parameter_sentences(recipe).keys() == settings.parameters(recipe).keys()


@pytest.mark.parametrize(("name", "words"), EVERY)
def test_every_shown_setting_is_accepted_as_shown(name: str, words: tuple[str, ...]) -> None:
    """All of them together change nothing. Those that name a class, and those in a tuple, are accepted alone
    as well: the first make a new object, which needs what has no default.
    """
    recipe = find_recipe(name)
    as_it_is = settings.expression(recipe, settings.parse(words))
    shown, alone = list(words), set()
    for address, kind, setting in of_recipe(name, words):
        (word,) = shlex.split(f"{address}.{setting}")
        shown.append(word)
        if (setting.text[:1].isupper() or "[" in setting.name) and (kind, str(setting)) not in alone:
            alone.add((kind, str(setting)))
            settings.expression(recipe, settings.parse([*words, word]))
    assert settings.expression(recipe, settings.parse(shown)) == as_it_is
    if words:
        return
    defaults = [
        f"{parameter}={as_typed(default)}"
        for parameter, (_, default) in settings.parameters(recipe).items()
        if default not in (None, "")
    ]
    assert settings.expression(recipe, settings.parse(defaults)) == as_it_is


def test_every_setting_of_a_stage_is_shown() -> None:
    """What help leaves out are inputs, which have an address of their own, and the two labels."""
    for name, words in EVERY:
        for address, stage in addresses(
            settings.expression(find_recipe(name), settings.parse(words))
        ).items():
            shown = {re.split(r"[.\[]", setting.name)[0] for setting in settings_of(stage)}
            inputs = {re.split(r"[.\[]", path)[0] for path, _ in nested(stage)}
            for item in fields(stage):
                left_out = item.name in LABELS or item.name in inputs or _takes_a_stage(stage, item.name)
                assert item.name in shown or left_out, f"{name}: {address}.{item.name}"


def _takes_a_stage(stage: Stage, name: str) -> bool:
    kinds = [declared_type(type(stage), name)]
    kinds += [inner for kind in kinds for inner in typing.get_args(kind)]
    kinds = [one for kind in kinds for one in alternatives(kind)]
    return any(isinstance(kind, type) and issubclass(kind, Stage) for kind in kinds)


@pytest.mark.parametrize(("folder", "place", "name", "words"), CHOSEN)
def test_every_setting_of_what_is_chosen_by_name_is_accepted_as_shown(
    folder: str, place: str, name: str, words: tuple[str, ...]
) -> None:
    recipe, package, taken = find_recipe(name), importlib.import_module(f"posttrain.{folder}"), 0
    refused: list[str] = []
    address, _, field = place.partition(".")

    def chosen(*more: str) -> Any:
        return getattr(
            addresses(settings.expression(recipe, settings.parse([*words, *more])))[address], field
        )

    for item in pkgutil.iter_modules(package.__path__):
        try:
            value = chosen(f"{place}={item.name}")
        except UserError as error:
            refused.append(str(error))
            continue
        taken += 1
        shown = [shlex.split(f"{place}.{setting}")[0] for setting in settings_of(value)]
        assert chosen(f"{place}={item.name}", *shown) == value
        for word in shown:
            chosen(f"{place}={item.name}", word)
    assert taken >= 3
    for reason in refused:  # one that needs what has no default, or that is no choice here
        assert re.search("also needs|no such choice|teacher|demonstrations|compares", reason)


def test_the_objects_in_a_tuple_are_shown_and_set_by_number() -> None:
    recipe = find_recipe("deepseek_r1")
    shown = {f"{a}.{s.name}": s for a, _, s in of_recipe("deepseek_r1", ())}
    assert str(shown["mixture.sources[1].weight"]) == "sources[1].weight=3.0"
    assert shown["mixture.sources[2]"].text == "Source"
    assert "mixture.sources[1].rows" not in shown  # a stage, at its own address
    changed: Any = addresses(
        settings.expression(
            recipe, settings.parse(["mixture.sources[1].weight=5", "rl.reward.parts[2].weight=2"])
        )
    )
    assert [source.weight for source in changed["mixture"].sources] == [5.0, 1.0]
    assert [part.weight for part in changed["rl"].reward.parts] == [1.0, 2.0]
    with pytest.raises(UserError, match=r"mixture.sources has no 3; it has 1, 2"):
        settings.expression(recipe, settings.parse(["mixture.sources[3].weight=5"]))


def choices() -> set[type]:
    """Every stage, what is chosen by the name of its file, and what may stand in a field of these."""
    found: set[type] = set()
    for folder in ("stages", *BY_NAME):
        package = importlib.import_module(f"posttrain.{folder}")
        for item in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"posttrain.{folder}.{item.name}")
            plain = item.name.replace("_", "")
            for name, kind in vars(module).items():
                if not (isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.__name__):
                    continue
                if issubclass(kind, Stage) or (folder in BY_NAME and name.lower() == plain):
                    found.add(kind)
    waiting = list(found)
    while waiting:
        for reached in set(_in_fields(waiting.pop())) - found:
            found.add(reached)
            waiting.append(reached)
    return found


def _in_fields(kind: type) -> Iterator[type]:
    for item in fields(kind):
        inside = [declared_type(kind, item.name)]
        while inside:
            declared = inside.pop()
            members = alternatives(declared)
            inside += typing.get_args(declared) if members == (declared,) else members
            if isinstance(declared, type) and is_dataclass(declared) and not issubclass(declared, Stage):
                yield declared


def test_every_field_that_can_be_chosen_has_a_sentence() -> None:
    kinds = choices()
    assert {PPO, KLInReward, Lora, SourceFile} <= kinds
    without = [
        f"{kind.__module__}.{kind.__name__}.{item.name}"
        for kind in kinds
        for item in fields(kind)
        if item.init and item.name not in field_sentences(kind)
    ]
    assert sorted(without) == [], "write the sentence as a string literal below the field"


def test_a_sentence_is_one_and_ends() -> None:
    for kind in choices():
        for name, sentence in field_sentences(kind).items():
            where = f"{kind.__name__}.{name}: {sentence}"
            assert sentence[0].isupper() or sentence.startswith(("``", "k1")), where
            assert sentence.endswith("."), where
            assert len(sentence) <= 160, where


@dataclass(frozen=True)
class Plain:
    rate: float = 1.0
    """How fast."""
    silent: int = 0
    kept: int = 0
    """Kept as
    it was.
    """


@dataclass(frozen=True)
class Derived(Plain):
    rate: float = 2.0
    """How fast, twice."""
    kept: int = 1
    silent: int = 3
    "Said after all."


def test_sentences_stand_below_fields_and_are_inherited() -> None:
    assert field_sentences(Plain) == {"rate": "How fast.", "kept": "Kept as it was."}
    assert field_sentences(Derived) == {
        "rate": "How fast, twice.",
        "kept": "Kept as it was.",
        "silent": "Said after all.",
    }


def test_a_class_in_a_function_has_sentences_and_one_without_source_none() -> None:
    @dataclass
    class Local:
        x: int = 0
        """Local."""

    assert field_sentences(Local) == {"x": "Local."}
    space: dict[str, Any] = {"__name__": __name__}
    exec("from dataclasses import dataclass\n\n@dataclass\nclass Typed:\n    x: int = 0\n", space)
    assert field_sentences(space["Typed"]) == {}


def test_parameters_are_explained_in_the_docstring() -> None:
    def recipe(seed: int = 0, model: str = "x") -> Stage:
        """A recipe.

        Parameters:
            seed: Of everything
                that draws.
            model: What it begins at.

        More text: not a parameter.
        """
        raise NotImplementedError

    assert parameter_sentences(recipe) == {"seed": "Of everything that draws.", "model": "What it begins at."}
    assert parameter_sentences(lambda: None) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        (1e-5, "1e-05"),
        (k3, "k3"),
        (PPO(), "PPO"),
        (SourceFile("a b.jsonl", "datasets"), "a b.jsonl"),
        ((64, 64), "[64, 64]"),
        (("a, b", "c"), '["a, b", "c"]'),
        ((), "[]"),
    ],
)
def test_values_are_shown_as_they_are_typed(value: object, text: str) -> None:
    assert as_typed(value) == text


def test_a_shown_setting_is_one_word_of_a_shell() -> None:
    assert str(Setting("hidden", "[64, 64]", "")) == "hidden='[64, 64]'"
    assert str(Setting("columns", "", "")) == "columns="


def test_a_type_that_only_a_type_checker_imports_can_be_set() -> None:
    """Stages name their adapters under TYPE_CHECKING, so that a recipe is built without torch."""
    recipe = find_recipe("instructgpt")

    def rl(*words: str) -> Any:
        return addresses(settings.expression(recipe, settings.parse(words)))["rl"]

    assert rl("rl.lora=lora", "rl.lora.rank=4").lora == Lora(rank=4)
    assert rl("rl.lora=none").lora is None
    assert rl("rl.method.correction=truncated", "rl.method.correction.cap=3").method.correction.cap == 3.0
    with pytest.raises(UserError, match=r"rl\.lora\.rnk=4: rl\.lora has no setting rnk; did you mean rank"):
        rl("rl.lora=lora", "rl.lora.rnk=4")


def test_the_class_that_is_there_keeps_what_has_no_default() -> None:
    """``rl.reward=LearnedReward`` is what --help shows; its reward model stays the recipe's."""
    recipe = find_recipe("instructgpt")
    words = ["rl.reward=learned", "rl.reward.missing_eos_penalty=2"]
    stage: Any = addresses(settings.expression(recipe, settings.parse(words)))["rl"]
    reward = stage.reward
    assert (type(reward.model).__name__, reward.missing_eos_penalty) == ("RewardModeling", 2.0)


def test_help_puts_a_sentence_beside_its_setting() -> None:
    recipe = find_recipe("instructgpt")
    lines = recipe_help(recipe, "instructgpt", settings.expression(recipe, [])).splitlines()
    line = next(line for line in lines if line.startswith("    rl.method.gae_lambda=0.95 "))
    assert line[COLUMN:].startswith(field_sentences(PPO)["gae_lambda"][:40])
    assert max(len(line) for line in lines if "=" not in line) <= 110
    assert not any("<function" in line for line in lines)
    assert not any(f"rl.{label}=" in line for line in lines for label in LABELS)


def test_the_page_of_a_method_shows_its_sentences() -> None:
    """``python scripts/method_pages.py`` writes the pages."""
    pages = Path(__file__).resolve().parent.parent / "docs" / "methods"
    missing = []
    for kind in choices():
        page = pages / f"{kind.__module__.rpartition('.')[2]}.md"
        if kind.__module__.split(".")[1] in METHODS and page.exists():
            text = page.read_text("utf-8")
            for name, sentence in field_sentences(kind).items():
                if name in {item.name for item in fields(kind)} and sentence.replace("``", "`") not in text:
                    missing.append(f"{page.name}: {name}")
    assert missing == []
