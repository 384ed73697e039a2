"""Masks come from positions, what is trained is what is served, and a bad template is named."""

from __future__ import annotations

import pytest

from posttrain.models.chat import Chat
from posttrain.pipeline.finding import UserError
from tests.models.small import MARKED, tokenizer

CHATML = (
    "{% for m in messages %}{{ '<|user|>' + m['role'] + '\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|user|>assistant\n' }}{% endif %}"
)
# the markers leave out the token that ends the turn
TIGHT = MARKED.replace(
    "{{ message['content'] + '<|end|>' }}{% endgeneration %}",
    "{{ message['content'] }}{% endgeneration %}{{ '<|end|>' }}",
)
TALK = [
    {"role": "user", "content": "where is the cat?"},
    {"role": "assistant", "content": "the cat sat"},
    {"role": "user", "content": "on?"},
    {"role": "assistant", "content": "on the mat"},
]
TEMPLATES = {"marked": MARKED, "tight": TIGHT, "chatml": CHATML, "none": None}


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_supervised_is_what_the_assistant_said_and_its_end(name: str) -> None:
    made = tokenizer(TEMPLATES[name])
    chat = Chat(made)
    ids, mask = chat.example(TALK)
    spoken = made.decode([token for token, own in zip(ids, mask, strict=True) if own])
    assert spoken.replace("<|end|> ", "<|end|>").strip() == "the cat sat<|end|>on the mat<|end|>"
    assert chat.stop_ids == (4,)


@pytest.mark.parametrize("name", TEMPLATES)
def test_trained_ids_begin_with_the_served_prompt(name: str) -> None:
    chat = Chat(tokenizer(TEMPLATES[name]))
    ids, mask = chat.example(TALK)
    first, second = chat.prompt_ids(TALK[:1]), chat.prompt_ids(TALK[:3])
    assert ids[: len(first)] == first
    assert ids[: len(second)] == second
    assert mask.index(True) == len(first)
    assert mask[len(second)]


def test_the_mask_does_not_read_token_values() -> None:
    parrot = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "the cat"}]
    ids, mask = Chat(tokenizer()).example(parrot)
    said = [token for token, own in zip(ids, mask) if own]
    heard = [token for token, own in zip(ids, mask) if not own]
    assert set(said) - {4} <= set(heard)  # the same words, supervised once only
    assert len(said) == 3


def test_the_templates_end_of_a_turn_is_learned_where_eos_is_another_token() -> None:
    for name in ("marked", "tight", "chatml"):
        made = tokenizer(TEMPLATES[name], eos_token="<|endoftext|>")
        ids, mask = Chat(made).example(TALK)
        assert Chat(made).stop_ids == (0, 4)
        assert made.decode([t for t, own in zip(ids, mask, strict=True) if own]).count("<|end|>") == 2, name
        assert mask.count(True) == Chat(tokenizer(TEMPLATES[name])).example(TALK)[1].count(True), name


def test_the_end_is_learned_where_pad_is_eos() -> None:
    ids, mask = Chat(tokenizer(pad_token="<|end|>")).example(TALK[:2])
    assert ids[-1] == 4
    assert mask[-1]


def test_there_is_exactly_one_bos() -> None:
    import tokenizers

    for template in (MARKED, CHATML):
        made = tokenizer(template)
        made.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
        )
        assert made("a")["input_ids"][0] == 0
        for ids in (Chat(made).prompt_ids(TALK[:1]), Chat(made).example(TALK)[0]):
            assert ids.count(0) == 1
            assert ids[0] == 0


def test_a_template_that_writes_bos_twice_gives_one() -> None:
    made = tokenizer("{{ bos_token }}{{ bos_token }}" + CHATML)
    for ids in (Chat(made).prompt_ids(TALK[:1]), Chat(made).example(TALK)[0]):
        assert ids[:2].count(0) == ids.count(0) == 1
    ids, mask = Chat(made).example(TALK)
    plain_ids, plain_mask = Chat(tokenizer("{{ bos_token }}" + CHATML)).example(TALK)
    assert (ids, mask) == (plain_ids, plain_mask)


def test_plain_text_begins_with_bos_and_only_what_follows_is_learned() -> None:
    made = tokenizer()
    chat = Chat(made)
    ids, mask = chat.text_example("the cat", " sat on the mat")
    assert chat.text_ids("the cat")[0] == made.bos_token_id
    assert ids[: len(chat.text_ids("the cat"))] == chat.text_ids("the cat")
    assert ids.count(made.bos_token_id) == 1
    assert made.decode([t for t, own in zip(ids, mask, strict=True) if own]).strip() == "sat on the mat"


def test_nothing_to_learn_is_an_error() -> None:
    with pytest.raises(UserError, match="no assistant message"):
        Chat(tokenizer()).example(TALK[:1])


def test_a_template_that_drops_messages_is_refused() -> None:
    first_only = CHATML.replace("for m in messages", "for m in messages[-1:]")
    with pytest.raises(UserError, match=r"messages\[0\] \(user\)"):
        Chat(tokenizer(first_only)).example(TALK)


def test_a_template_that_rewrites_history_is_trained_as_it_is_sampled() -> None:
    rewriting = (
        "{% for m in messages %}{% if loop.last %}NOW {% endif %}"
        "{{ '<|user|>' + m['role'] + '\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|user|>assistant\n' }}{% endif %}"
    )
    made = tokenizer(rewriting)
    ids, mask = Chat(made).example(TALK)
    second = Chat(made).prompt_ids(TALK[:3])
    assert ids[: len(second)] == second
    assert made.decode(second).count("NOW ") == 2  # as it was when each was the newest
    spoken = made.decode([token for token, own in zip(ids, mask, strict=True) if own])
    assert spoken == "the cat sat<|end|>on the mat<|end|>"


def test_a_template_whose_turns_depend_on_history_is_refused_for_several() -> None:
    counting = CHATML.replace("m['role']", "m['role'] + loop.index | string")
    chat = Chat(tokenizer(counting))
    assert chat.prompt_ids(TALK[:1])
    chat.example(TALK[:2])
    with pytest.raises(UserError, match=r"only appends.*base\.chat_template=FILE"):
        chat.example(TALK)


def test_a_system_message_that_the_template_refuses_begins_the_first_question() -> None:
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + MARKED
    system = {"role": "system", "content": "where"}
    chat = Chat(tokenizer(strict))
    assert chat.folds_system
    joined = {"role": "user", "content": "where\n\nwhere is the cat?"}
    assert chat.example([system, *TALK]) == chat.example([joined, *TALK[1:]])
    assert not Chat(tokenizer()).folds_system


def test_words_that_stand_in_for_an_answer_may_be_said() -> None:
    chat = Chat(tokenizer())
    talk = [{**message, "content": f"xyzzy plugh {message['content']} xyzzyy"} for message in TALK]
    ids, mask = chat.example(talk)
    assert ids[: len(chat.prompt_ids(talk[:3]))] == chat.prompt_ids(talk[:3])
    assert sum(mask) > sum(chat.example(TALK)[1])


def test_a_turn_of_weight_zero_is_read_and_not_learned() -> None:
    made = tokenizer()
    chat = Chat(made)
    ids, mask = chat.example([TALK[0], {**TALK[1], "weight": 0}, TALK[2], {**TALK[3], "weight": 1}])
    assert ids == chat.example(TALK)[0]
    assert made.decode([t for t, own in zip(ids, mask, strict=True) if own]) == "on the mat<|end|>"
    with pytest.raises(UserError, match="no assistant message"):
        chat.example([TALK[0], {**TALK[1], "weight": 0}])


def test_a_tokenizer_that_cannot_end_an_answer_is_refused() -> None:
    with pytest.raises(UserError, match="eos_token"):
        Chat(tokenizer(None, eos_token=None))
    endless = CHATML.replace("<|end|>", "")
    with pytest.raises(UserError, match="could not end"):
        Chat(tokenizer(endless, eos_token=None))


def test_other_scripts_survive() -> None:
    said = "ça va? 🙂 שלום"
    made = tokenizer()
    ids, mask = Chat(made).example(
        [{"role": "user", "content": "日本"}, {"role": "assistant", "content": said}]
    )
    assert Chat(made).decode([token for token, own in zip(ids, mask) if own]) == said
