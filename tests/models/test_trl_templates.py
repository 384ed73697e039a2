"""TRL's original chat templates on a byte-pair tokenizer: what is trained is what is sampled."""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import random
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors

from posttrain.metrics import flat
from posttrain.models.chat import Chat
from posttrain.pipeline.finding import UserError
from posttrain.rollouts.encode import conversation_metrics
from tests.models.small import tokenizer


def templates() -> dict[str, Path]:
    """By name; read where TRL is installed, not imported, because importing its trainers is slow."""
    found = importlib.util.find_spec("trl")
    if found is None or not importlib.metadata.version("trl").startswith("1.16"):
        return {}
    folder = Path(str(found.origin)).parent / "chat_templates"
    return {p.stem: p for p in sorted(folder.glob("*.jinja")) if not p.stem.endswith("_training")}


TEMPLATES = templates()
if not TEMPLATES:
    pytest.skip("pip install 'trl==1.16.*'", allow_module_level=True)

# images are their subject: text is not shown unless it is given as a list of parts
VISION = {"idefics3", "llava_next", "smolvlm"}
# an earlier answer is written otherwise than the newest: a server reads other tokens than were sampled
REWRITING = {"deepseek_r1_distill", "deepseekv3", "glm4moe", "gptoss", "qwen3", "qwen3_6"}
REWRITING |= {"qwen3_5_nothink", "qwen3_5_think"}
REWRITING |= {f"nemotron_3_{kind}" for kind in ("5_lightning", "nano", "super", "ultra")}
MARKS = re.compile(
    r"<\|\w+\|>|<｜[\w▁]+｜>|<\w+\|>|<\|\w+>|</?think>|<(?:start|end)_of_turn>|\[gMASK\]|<sop>"
)
SYSTEM = [{"role": "system", "content": "be brief, and say what the other cat is"}]
TALK = [
    {"role": "user", "content": "where is the cat?"},
    {"role": "assistant", "content": "the cat sat"},
    {"role": "user", "content": "on what?"},
    {"role": "assistant", "content": " on the mat"},
    {"role": "user", "content": "and where is the other cat?"},
    {"role": "assistant", "content": "the other one is on the mat"},
]


@cache
def chat(name: str) -> Chat:
    """The template on a tokenizer that has its special tokens."""
    source = TEMPLATES[name].read_text("utf-8")
    made = tokenizer(source)
    marks = set(MARKS.findall(source))
    made.add_special_tokens({"additional_special_tokens": sorted(m for m in marks if "think" not in m)})
    made.add_tokens(sorted(m for m in marks if "think" in m))
    return Chat(made)


def said(name: str, ids: list[int], mask: list[bool]) -> list[str]:
    """Each supervised stretch as text."""
    stretches: list[list[int]] = []
    before = False
    for token, own in zip(ids, mask, strict=True):
        if own and not before:
            stretches.append([])
        if own:
            stretches[-1].append(token)
        before = own
    return [str(chat(name).tokenizer.decode(one)) for one in stretches]


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name not in VISION])
@pytest.mark.parametrize("opening", [[], SYSTEM], ids=["plain", "system"])
def test_three_turns_extend_turn_by_turn(name: str, opening: list[dict[str, str]]) -> None:
    talk = [*opening, *TALK]
    ids, mask = chat(name).example(talk)
    for place in range(len(opening) + 1, len(talk), 2):
        prompt = chat(name).prompt_ids(talk[:place])
        shorter, heard = chat(name).example(talk[: place + 1])
        until = len(heard) - heard[::-1].index(True)
        assert ids[: len(prompt)] == prompt == shorter[: len(prompt)]
        assert ids[:until] == shorter[:until]  # also once others follow
        assert mask[:until] == heard[:until]
        assert not mask[len(prompt) - 1]
        assert mask[len(prompt)]
    answers = said(name, ids, mask)
    assert (
        len(answers) == sum(own and t in chat(name).stop_ids for t, own in zip(ids, mask, strict=True)) == 3
    )
    for answer, message in zip(answers, talk[len(opening) + 1 :: 2], strict=True):
        assert message["content"].strip() in answer
        assert chat(name).tokenizer.convert_tokens_to_ids(TAIL.findall(answer)[-1]) in chat(name).stop_ids
    text = chat(name).tokenizer.decode(ids)
    assert all(message["content"].strip() in text for message in talk)
    bos = chat(name).tokenizer.bos_token_id
    assert [bos, bos] not in [ids[n : n + 2] for n in range(len(ids))]


TAIL = re.compile(r"<[^<>]*>")


def test_at_least_26_are_trained_and_the_rest_say_what_to_set() -> None:
    assert len(TEMPLATES) - len(VISION) >= 26
    for name in VISION & TEMPLATES.keys():
        with pytest.raises(UserError, match=r"drops or rewrites.*base\.chat_template=FILE"):
            chat(name)


def test_what_a_server_would_read_otherwise_is_known() -> None:
    for name in TEMPLATES.keys() - VISION:
        metrics, notes = conversation_metrics(chat(name), [{"messages": TALK}])
        assert flat(metrics) == {"served_otherwise_share": float(name in REWRITING)}, (name, notes)


def test_there_is_one_bos_whether_template_or_tokenizer_writes_it() -> None:
    for name in TEMPLATES.keys() - VISION:
        made = copy.deepcopy(chat(name).tokenizer)
        bos = (str(made.bos_token), made.get_vocab()[str(made.bos_token)])
        process = processors.TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])
        made.backend_tokenizer.post_processor = process
        for talk in (TALK, SYSTEM + TALK):
            ids, _ = Chat(made).example(talk)
            assert (ids[0], ids.count(bos[1])) == (bos[1], 1), name
            assert Chat(made).prompt_ids(talk[:-1]) == ids[: len(Chat(made).prompt_ids(talk[:-1]))], name


def test_thinking_is_said_once_and_closed() -> None:
    """An answer goes on from a prompt that opens thinking; one without thinking closes it."""
    thought = [TALK[0], {"role": "assistant", "content": "<think>\nplan\n</think>\n\nthe cat sat"}]
    for name in TEMPLATES.keys() - VISION:
        for talk in (thought, TALK[:2]):
            ids, _ = chat(name).example(talk)
            text = chat(name).tokenizer.decode(ids[len(chat(name).prompt_ids(talk[:1])) :])
            before = chat(name).tokenizer.decode(chat(name).prompt_ids(talk[:1]))
            opened = before.count("<think>") - before.count("</think>")
            assert opened + text.count("<think>") == text.count("</think>"), (name, text)
            assert ("plan" in text) == (talk is thought), name
            assert text.count("the cat sat") == 1, name


PIECES = ["the cat", " ", "\n", "<", "|>", "<|end", "on the mat", "?", "<|endoftext|>", "<|pad|>"]


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name not in VISION])
def test_no_content_becomes_a_special_token(name: str) -> None:
    """Whatever is said, the special tokens are those of the same conversation in plain words, and what a
    user says is never learned.
    """
    made, random_ = chat(name), random.Random(name)
    special = {made.tokenizer.get_vocab()[text] for text in made.special.texts}

    def marks(ids: list[int]) -> list[int]:
        return [token for token in ids if token in special]

    for opening in ([], SYSTEM):
        plain_ids, plain_mask = made.example([*opening, *TALK])
        for _ in range(3):
            talk: list[dict[str, Any]] = []
            for message in (*opening, *TALK):
                pieces = random_.choices(PIECES, k=2) + random_.choices(made.special.texts, k=3)
                random_.shuffle(pieces)
                # a word at both ends, so that no template trims anything
                words = f"{message['role']}{len(talk)}"
                talk.append({**message, "content": f"{words} {''.join(pieces)} {words}"})
            ids, mask = made.example(talk)
            assert marks(ids) == marks(plain_ids)
            learned = [token for token, own in zip(ids, mask, strict=True) if own]
            wanted = [token for token, own in zip(plain_ids, plain_mask, strict=True) if own]
            assert marks(learned) == marks(wanted)
            text = made.tokenizer.decode(ids)
            assert all(message["content"] in text for message in talk)
            assert "user" not in re.sub("to=user", "", "".join(said(name, ids, mask)).replace("<|user|>", ""))
            assert ids[: len(made.prompt_ids(talk[:-1]))] == made.prompt_ids(talk[:-1])
