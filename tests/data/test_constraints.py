"""Every check passes what obeys it, refuses what does not, and is not fooled by the cheapest tricks."""

from __future__ import annotations

from typing import Any

import pytest

from posttrain.data.constraint_kinds import CONSTRAINTS
from posttrain.data.constraint_prompts import demonstrations, prompts, reference_answer
from posttrain.data.constraints import CHECKS, judge, obeyed, wrong_check
from posttrain.data.format_checks import LANGUAGES
from posttrain.data.ifeval import IFEVAL
from posttrain.pipeline.finding import UserError

CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "one_word": ({}, ["Birds", "Birds.", " mother-in-law "], ["", "Two words", "a, b", "42", "."]),
    "at_most_words": ({"count": 3}, ["Owls eat mice."], ["", "Owls", "Owls eat very small mice."]),
    "between_words": ({"low": 2, "high": 3}, ["Owls eat mice."], ["Owls", "Owls eat very small mice."]),
    "sentences": (
        {"count": 2},
        ["Owls fly. They eat mice.", "Do owls fly? Yes!", "It is 3.5 metres. That is long."],
        [
            "Owls fly.",
            "Owls fly. They eat mice. They sleep.",
            "Owls fly. They eat",
            "Owls fly. Owls fly.",
            "- Owls fly.\n- They eat.",
            "..",
            "",
        ],
    ),
    "bullets": (
        {"count": 2},
        ["- otter\n- beaver", "* otter\n\n* beaver", "• otter\n• beaver"],
        ["- otter", "- otter\n- otter", "Here:\n- otter\n- beaver", "-\n-", "-otter\n-beaver", "1. a\n2. b"],
    ),
    "numbered": (
        {"count": 2},
        ["1. otter\n2. beaver", "1) otter\n2) beaver"],
        [
            "1. otter",
            "1. otter\n1. beaver",
            "2. otter\n1. beaver",
            "1. otter\n2. otter",
            "- a\n- b",
            "1.\n2.",
        ],
    ),
    "comma_list": (
        {"count": 3},
        ["otter, beaver, trout", "otter, beaver, and trout."],
        [
            "otter, beaver",
            "otter, otter, trout",
            "a, b, the trout in the river",
            "otter,\nbeaver,\ntrout",
            ",,",
        ],
    ),
    "lowercase": ({}, ["owls eat mice.", "é"], ["Owls eat mice.", "", "123"]),
    "uppercase": ({}, ["OWLS EAT MICE."], ["Owls EAT MICE.", "", "123"]),
    "no_commas": ({}, ["Owls eat mice."], ["Owls, as you know, eat mice.", "", "Yes."]),
    "begins_with": (
        {"phrase": "Sure!"},
        ["Sure! Owls fly."],
        ["Sure!", "Owls fly. Sure!", "sure! Owls fly."],
    ),
    "ends_with": ({"phrase": "The end."}, ["Owls fly. The end."], ["The end.", "The end. Owls fly.", ""]),
    "includes": (
        {"word": "mice"},
        ["Owls eat mice.", "MICE are what owls eat."],
        ["Owls eat mouse.", "mice mice mice mice", "mice", "Owls eat dormice."],
    ),
    "excludes": ({"word": "Owls"}, ["They eat mice."], ["Owls eat mice.", "", "OWLS, I say"]),
    "quoted": ({}, ['"Owls fly."', "“Owls fly.”"], ["Owls fly.", '"Owls" fly.', '""', '"Owls', '"a" b "c"']),
    "json_keys": (
        {"keys": ["name", "fact"]},
        ['{"name": "owls", "fact": "They fly."}'],
        [
            '{"name": "owls"}',
            '{"name": "", "fact": "x"}',
            "name: owls",
            '{"name": 1, "fact": 2}',
            "[]",
            "[" * 9999,
        ],
    ),
    "at_least_sentences": (
        {"count": 2},
        ["Owls fly. They eat mice.", "Owls fly. They eat mice! Do they sleep?"],
        ["Owls fly.", "Owls fly. Owls fly.", "Owls fly. They eat", ". . ."],
    ),
    "paragraphs": (
        {"count": 2},
        ["Owls fly.\n\nThey eat mice.", "Owls\nfly.\n \n\nThey eat mice."],
        ["Owls fly.\nThey eat mice.", "Owls.\n\nOwls.", "a\n\nb\n\nc", "", "a\n\n***"],
    ),
    "word_times": (
        {"word": "owl", "low": 2, "high": 3},
        ["An owl sees another owl fly.", "Owl by owl, they come; one OWL is late."],
        ["An owl flies.", "owl owl owl", "owl a owl b owl c owl d", "owls owls and owls fly"],
    ),
    "letter_times": (
        {"letter": "q", "low": 1, "high": 2},
        ["The queen is here.", "Quite a quick owl."],
        ["The owl is here.", "q", "Quite quick queens quack.", ""],
    ),
    "all_keywords": (
        {"keywords": ["owl", "night"]},
        ["The owl hunts at night.", "At NIGHT one hears an owl."],
        ["The owl hunts.", "owl night", "owl, night, owl", "Owls hunt nightly here."],
    ),
    "placeholders": (
        {"count": 2},
        ["Dear [name], come to [place].", "[a] [b] [c]"],
        ["Dear [name].", "[name] [name]", "[] []", "name and place", "[\n]"],
    ),
    "titled": (
        {},
        ["<<Owls>>\nThey fly.", " << All about owls >>\n\nThey fly."],
        ["Owls\nThey fly.", "<<Owls>>", "<<>>\nThey fly.", "They fly.\n<<Owls>>", "<<a>> b\nc"],
    ),
    "sections": (
        {"word": "Part", "count": 2},
        ["Part 1\nOwls fly.\nPart 2\nThey eat mice.", "**Part 1:** Owls fly.\n\n## Part 2\nThey eat."],
        ["Part 1\nOwls fly.", "Part 2\na\nPart 1\nb", "Part 1\nPart 2\n", "Intro\nPart 1\na\nPart 2\nb", ""],
    ),
    "highlights": (
        {"count": 2},
        ["*Owls* fly at **night**.", "*a* *b* *c*"],
        ["*Owls* fly.", "*a* *a*", "** **", "2 * 3 * 4", "Owls fly."],
    ),
    "postscript": (
        {},
        ["Owls fly.\n\nP.S. They also swim.", "Owls.\nP.S. No."],
        ["Owls fly.", "P.S. Owls fly.", "Owls fly.\nP.S.", "Owls fly. P.S. They swim.", "a\nP.S. b\n\nc"],
    ),
    "valid_json": (
        {},
        ['{"owl": [1, 2]}', '["owl"]', '```json\n{"owl": "bird"}\n```'],
        ["owl", '"owl"', "{}", "[]", "{'owl': 1}", '{"owl": 1', 'Here: {"owl": 1}', "[" * 9999],
    ),
    "language": (
        {"code": "de"},
        ["Die Eule ist ein Vogel und fliegt in der Nacht.", "Sie sind nicht auf dem Dach, sie sind im Haus."],
        [
            "The owl is a bird and flies at night.",
            "De uil is een vogel en vliegt in de nacht.",
            "Eule Vogel Nacht Maus Baum",
            "die die die die die die",
            "Die Eule.",
            "",
        ],
    ),
    "on_topic": (
        {"terms": ["owls", "mice"]},
        ["An owl flies.", "They eat mice."],
        ["Cats purr.", "", "owls owls owls owls owls owls"],
    ),
}


# what the prompts of the embedded data ask for; the other checks are for prompts of one's own
SAMPLED = set(list(CASES)[:16]) | {"on_topic"}
SAID = {
    "en": "The owl is a bird that flies at night, and it hears very well.",
    "de": "Die Eule ist ein Vogel und fliegt in der Nacht, und sie hört sehr gut.",
    "fr": "La chouette est un oiseau qui vole dans la nuit et elle entend bien.",
    "es": "El búho es un ave que vuela por la noche y se oye muy bien en los bosques.",
    "it": "Il gufo è un uccello che vola di notte e non si vede nel bosco.",
    "pt": "A coruja é uma ave que voa em silêncio e não se vê na noite como os outros.",
    "nl": "De uil is een vogel die in de nacht vliegt en niet te horen is voor het wild.",
    "ru": "Сова летает ночью и хорошо слышит.",
    "zh": "猫头鹰在夜里飞行，听力很好。",
    "ja": "フクロウは夜に飛び、耳がとても良いです。",
    "ko": "올빼미는 밤에 날고 귀가 아주 밝습니다.",
    "ar": "البومة طائر يطير في الليل ويسمع جيدا.",
    "hi": "उल्लू रात में उड़ता है और अच्छा सुनता है।",
    "el": "Η κουκουβάγια πετά τη νύχτα και ακούει καλά.",
}


def test_every_language_is_told_from_all_others() -> None:
    assert SAID.keys() == set(LANGUAGES)
    for code in LANGUAGES:
        item = {"checks": [{"check": "language", "code": code}]}
        assert [other for other, text in SAID.items() if obeyed(item, text)] == [code], code


def test_every_check_has_its_cases() -> None:
    assert CASES.keys() == CHECKS.keys() - IFEVAL.keys()
    assert CONSTRAINTS.keys() == SAMPLED - {"on_topic"}
    assert len(CHECKS) >= 15


@pytest.mark.parametrize("name", list(CASES))
def test_a_check_tells_obeying_from_not(name: str) -> None:
    settings, obeying, breaking = CASES[name]
    item = {"checks": [{"check": name, **settings}]}
    assert {text: obeyed(item, text) for text in obeying} == dict.fromkeys(obeying, 1.0)
    assert {text: obeyed(item, text) for text in breaking} == dict.fromkeys(breaking, 0.0)


@pytest.mark.parametrize(("split", "count"), [("train", 1500), ("heldout", 400)])
def test_every_reference_answer_scores_one_and_is_short(split: Any, count: int) -> None:
    rows = prompts(split, count, seed=3)
    for row in rows:
        answer = reference_answer(row["item"])
        assert obeyed(row["item"], answer) == 1.0, (row["prompt"], answer, judge(row["item"], answer))
        assert len(answer) <= 120
    asked = {check["check"] for row in rows for check in row["item"]["checks"]}
    assert asked == SAMPLED


@pytest.mark.parametrize("text", ["", "-", "Sure!", "1", "yes yes yes yes yes yes", "\n\n"])
def test_an_answer_to_nothing_earns_little(text: str) -> None:
    rows = prompts("heldout", 300, seed=0)
    assert sum(obeyed(row["item"], text) for row in rows) / len(rows) < 0.15


def test_held_out_prompts_share_neither_topics_nor_wordings_with_training() -> None:
    train, heldout = prompts("train", 1500, seed=0), prompts("heldout", 400, seed=0)
    assert not {row["item"]["topic"] for row in train} & {row["item"]["topic"] for row in heldout}
    assert not {row["item"]["prompt"] for row in train} & {row["item"]["prompt"] for row in heldout}
    for constraint in CONSTRAINTS.values():
        assert not set(constraint.wordings["train"]) & set(constraint.wordings["heldout"])
    assert len({row["item"]["prompt"] for row in heldout}) == 400
    assert prompts("heldout", 400, seed=0) == heldout != prompts("heldout", 400, seed=1)


def test_demonstrations_obey_as_often_as_asked() -> None:
    rows = demonstrations(600, seed=0, obeying=0.5)
    share = sum(obeyed(row["item"], row["messages"][-1]["content"]) == 1 for row in rows) / len(rows)
    assert 0.5 <= share <= 0.7  # plain answers obey some constraints by chance
    good = [row for row in rows if row["quality"] == "good"]
    assert 0.42 <= len(good) / len(rows) <= 0.58
    assert all(obeyed(row["item"], row["messages"][-1]["content"]) == 1 for row in good)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"check": "bulets", "count": 2}, "not known; there are one_word"),
        ({"check": "bullets"}, "settings {}"),
    ],
)
def test_a_check_that_cannot_be_made_is_named(check: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        judge({"checks": [check]}, "- a\n- b")


def test_checks_are_tried_before_they_are_used() -> None:
    assert wrong_check([{"check": "bullets", "count": 2}, {"check": "language", "code": "de"}]) == ""
    assert "not known" in wrong_check([{"check": "bulets"}])
    assert "there is en, de" in wrong_check([{"check": "language", "code": "xx"}])


def test_two_checks_of_one_name_are_both_judged() -> None:
    """Else the second hides the first, and disobedience is paid."""
    item = {"checks": [{"check": "excludes", "word": "sea"}, {"check": "excludes", "word": "lake"}]}
    assert obeyed(item, "We swim in the sea.") == 0.5
    assert obeyed(item, "We swim in the lake.") == 0.5
    assert obeyed(item, "We swim in the river.") == 1.0
