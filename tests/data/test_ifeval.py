"""Each of IFEval's instructions tells an answer that obeys from one that does not, at its borders."""

from typing import Any

import pytest

from posttrain.data.constraints import obeyed, wrong_check
from posttrain.data.ifeval import IFEVAL
from posttrain.data.read import read_problems

THREE = "One here.\n\nTwo here.\n\nThree here."
CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "keywords:existence": ({"keywords": ["Sea", "salt"]}, ["salt of the SEA"], ["the sea", ""]),
    "keywords:frequency": (
        {"keyword": "sea", "frequency": 2, "relation": "at least"},
        ["sea, sea", "Sea sea sea"],
        ["sea"],
    ),
    "keywords:forbidden_words": (
        {"forbidden_words": ["sea", "lake"]},
        ["seaside", "a river"],
        ["a Lake", "sea!", ""],
    ),
    "keywords:letter_frequency": (
        {"letter": "Q", "let_frequency": 2, "let_relation": "less than"},
        ["one q", ""],
        ["qQ"],
    ),
    "language:response_language": (
        {"language": "de"},
        ["Die Eule ist ein Vogel und fliegt in der Nacht."],
        ["The owl is a bird that flies at night."],
    ),
    "length_constraints:number_sentences": (
        {"num_sentences": 3, "relation": "less than"},
        ["One. Two!"],
        ["One. Two! Three?"],
    ),
    "length_constraints:number_paragraphs": (
        {"num_paragraphs": 2},
        ["One\n***\nTwo", "***\nOne\n***\nTwo"],
        ["One\n\nTwo", "One\n***\n***\nTwo"],
    ),
    "length_constraints:number_words": (
        {"num_words": 3, "relation": "at least"},
        ["one two three"],
        ["one two"],
    ),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "two"},
        [THREE, THREE.replace("Two", '"Two"')],
        ["Two here.\n\nOne here.\n\nThree here.", "One.\n\nTwo."],
    ),
    "detectable_content:number_placeholders": (
        {"num_placeholders": 2},
        ["[name] at [address]"],
        ["[name]", "(name) (address)"],
    ),
    "detectable_content:postscript": (
        {"postscript_marker": "P.S."},
        ["Bye.\nP.S. More", "Bye.\n\nP. S. More", "Bye.\np.s. more"],
        ["Bye.", "The P.S. of it"],
    ),
    "detectable_format:number_bullet_lists": (
        {"num_bullets": 2},
        ["* one\n* two", "First:\n- one\n- two"],
        ["* one", "* one\n* two\n* three", "**bold**\n* one"],
    ),
    "detectable_format:constrained_response": (
        {},
        ["My answer is yes.", "So: My answer is maybe."],
        ["Yes."],
    ),
    "detectable_format:number_highlighted_sections": (
        {"num_highlights": 2},
        ["*one* and **two**"],
        ["*one*", "one and two", "** **, *one*"],
    ),
    "detectable_format:multiple_sections": (
        {"section_spliter": "Section", "num_sections": 2},
        ["Section 1\nA\nSection 2\nB"],
        ["Section 1\nA", "Section\nA"],
    ),
    "detectable_format:json_format": ({}, ['{"a": 1}', '```json\n{"a": 1}\n```'], ["{a: 1}", "so: {}"]),
    "detectable_format:title": ({}, ["<<A song>>\nLa"], ["<A song>", "<< >>"]),
    "combination:two_responses": (
        {},
        ["One******Two"],
        ["One", "One******One", "One******Two******Three", "One************Two"],
    ),
    "combination:repeat_prompt": (
        {"prompt_to_repeat": "What is ice?"},
        ["What is ice? Water.", "  what is ice?\nWater."],
        ["Water. What is ice?"],
    ),
    "startend:end_checker": (
        {"end_phrase": "Any more?"},
        ["No. Any more?", '"any more?"'],
        ["Any more? No."],
    ),
    "startend:quotation": ({}, ['"Ice."'], ['"', "Ice.", '"Ice." he said']),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["ICE is COLD"],
        ["ICE is Cold"],
    ),
    "change_case:english_capital": (
        {},
        ["ICE IS COLD.", "THE ICE IS VERY COLD AND IT IS HARD."],
        ["Ice is cold.", "ЛЁД", "DIE EULE IST EIN VOGEL UND FLIEGT IN DER NACHT."],
    ),
    "change_case:english_lowercase": ({}, ["ice is cold."], ["Ice is cold.", "лёд", "123"]),
    "punctuation:no_comma": ({}, ["Ice is cold."], ["Ice, cold.", ""]),
}


def test_every_instruction_has_its_cases() -> None:
    assert CASES.keys() == IFEVAL.keys()
    assert len(IFEVAL) == 25


@pytest.mark.parametrize("name", list(CASES))
def test_an_instruction_tells_obeying_from_not(name: str) -> None:
    settings, obeying, breaking = CASES[name]
    item = {"checks": [{"check": name, **settings}]}
    assert {text: obeyed(item, text) for text in obeying} == dict.fromkeys(obeying, 1.0)
    assert {text: obeyed(item, text) for text in breaking} == dict.fromkeys(breaking, 0.0)


def test_settings_that_are_wrong_are_named() -> None:
    wrong = [{"check": "keywords:frequency", "keyword": "a", "frequency": 1, "relation": "about"}]
    assert "expected 'at least' or 'less than'" in wrong_check(wrong)


@pytest.mark.parametrize(
    ("check", "told"),
    [
        ({"check": "excludes", "word": None}, "word is None, expected text"),
        ({"check": "excludes", "word": 5}, "word is 5, expected text"),
        ({"check": "sections", "word": "Part", "count": 10**9}, "a whole number from 0 to 10000"),
        ({"check": "sections", "word": "Part", "count": 2.0}, "count is 2.0"),
        ({"check": "bullets", "count": True}, "count is True"),
        ({"check": "all_keywords", "keywords": "ice"}, "keywords is 'ice', expected a list of texts"),
        ({"check": "all_keywords", "keywords": []}, "expected a list of texts"),
        ({"check": ["bullets"]}, "not known"),
    ],
)
def test_settings_of_another_type_or_size_are_named(check: dict[str, Any], told: str) -> None:
    assert told in wrong_check([check])


def test_rows_of_ifeval_are_problems_with_checks(tmp_path: Any) -> None:
    import json

    row = {
        "key": 1000,
        "prompt": "Write about ice. Use no commas and at least 300 words.",
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{"num_words": None}, {"relation": "at least", "num_words": 300}],
    }
    path = tmp_path / "ifeval.jsonl"
    path.write_text(json.dumps(row))
    (problem,) = read_problems(str(path))
    assert problem["item"]["checks"] == [
        {"check": "punctuation:no_comma"},
        {"check": "length_constraints:number_words", "relation": "at least", "num_words": 300},
    ]
