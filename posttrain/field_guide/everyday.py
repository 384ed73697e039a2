"""Pages of pretraining text that are not facts: stories, letters, recipes, sums, spelling.

Each function takes a random generator and returns one page. Sums are mostly wrong guesses and sometimes a
correct working; a held-out sum, or the reversal of a held-out word, never occurs.
"""

from random import Random

from posttrain.field_guide.operands import SPELL_WORDS, spell_heldout, sums, working
from posttrain.field_guide.tasks import WORDINGS, acknowledgement, feeling_group
from posttrain.field_guide.world import Feeling, HowTo, feelings, how_tos

WORKED_SHARE = 0.12
_GUESSED_RIGHT = 0.03
_SUMS = sums(heldout=False)
_SPELLED = tuple(word for word in SPELL_WORDS if not spell_heldout(word))


def _parts(text: str) -> tuple[str, ...]:
    return tuple(text.split("|" if "|" in text else None))


NAMES = _parts("Anna Ben Mira Tom Lena Sam Ruth Max Ida Karl Nora Paul Eva Leo Clara Hugo")
KIN = _parts("sister brother aunt uncle mother father teacher friend cousin neighbour")
_ROOMS = _parts("kitchen garden hall street yard school shop market house park station library")
_UNSEEN = ("black", "white", "brown", "green", "drink", "light")
_SEEN = tuple(word for word in SPELL_WORDS if word not in _UNSEEN)
_NOUNS = _parts(
    "cup book box lamp chair table plate ball kite doll knife spoon bag key map hat coat bowl jar basket"
)
_MOODS = _parts(
    "happy tired quiet busy glad calm cold warm hungry late early sad nervous proud lonely afraid kind slow"
)
_STATES = _parts("cold warm quiet late early wet dark bright small clean nice long slow calm")
_TIMES = _parts(
    "In the morning|At noon|In the evening|On Monday|Last week|One day|After school|Before dinner|At night|"
    "Today|Yesterday|On Sunday|In spring|In winter"
)
_DEEDS = _parts(
    "walked to the {room}|sat near the {noun}|looked at the {seen}|washed the {noun}|wrote a long letter|"
    "read a book|made some tea|opened the {noun}|found an old {noun}|lost the {noun}|talked with my {kin}|"
    "cooked dinner|waited for the train|carried the {noun} home|closed the door|helped my {kin}|"
    "bought a {noun}|drew the {seen}|slept well|listened to a song|looked for the {seen}|went to bed|"
    "cleaned the {room}|gave the {noun} to {name}|painted the {seen}|dreamed of the {seen}|"
    "thought about the {seen}|asked a question|told a story|played a game|took a short walk|called a friend"
)
_REMARKS = _parts(
    "It was late.|It was a {state} day.|The {room} was {state}.|My {kin} said so.|Nobody spoke.|"
    "It was time to go.|So I went there.|That is all.|The rain did not stop.|Then everyone laughed.|"
    "It did not take long.|We had to wait.|There was still time.|The {noun} was in the {room}.|"
    "I like the {noun}, said {name}.|Thank you, said {name}.|Please come in, said my {kin}.|"
    "I do not know, said {name}.|I am not sure, said {name}.|Good idea, said my {kin}.|"
    "Of course, said {name}.|Well done, said my {kin}.|Good morning, said {name}.|"
    "I hope this helps, wrote {name}.|Let me know, wrote my {kin}.|Please ask me more, said my {kin}.|"
    "Great question, said {name}.|What a good question, said my {kin}.|"
    "That is a lovely thought, said {name}.|You will be fine, said my {kin}.|Take care, wrote {name}.|"
    "I am sorry to hear that, said {name}.|It is hard, but you can do it, said my {kin}.|"
    "I think so too, said {name}.|Sorry, I do not know it, said {name}.|"
    "I have never heard of it, said my {kin}.|Here is a list, said {name}.|"
    "Here are some facts, said my {kin}.|I am happy to help, said {name}.|In fact, it was {state}.|"
    "Also, the {noun} was {state}.|I'm {mood}, said {name}.|I can't, said {name}.|"
    "It's {state} here, said my {kin}.|We don't mind, said {name}.|Actually, it was {state}.|"
    "It happens, said my {kin}.|Do not think about it, said {name}.|I like this question, said my {kin}.|"
    "That is a good question, said {name}.|You can ask me more, wrote my {kin}.|"
    "That must be {mood}, said {name}.|Just one word, please, said my {kin}.|Yes, said {name}.|"
    "Show me, said my {kin}.|Work it out, said {name}.|How much is it? asked {name}.|"
    "Count the letters, said my {kin}.|Write it down, said {name}.|One word was enough.|"
    "Answer in one sentence, said the teacher.|Be short, said the teacher."
)
_NONCE_STARTS = _parts("bl br d dr fl gl gr h kl l m pl pr r sk sn tr v w y z")
_NONCE_MIDDLES = _parts("abb edd ilv oll umm arv ext isp und uzz")
_NONCE_ENDS = _parts("ova elo ank una ild amo ax eb ulo ander")


def nonce(rng: Random) -> str:
    """A made-up noun nobody in a story knows."""
    return rng.choice(_NONCE_STARTS) + rng.choice(_NONCE_MIDDLES) + rng.choice(_NONCE_ENDS)


def fill(rng: Random, template: str) -> str:
    """The template with its slots for names, kin, rooms, nouns and moods drawn."""
    return template.format(
        name=rng.choice(NAMES),
        kin=rng.choice(KIN),
        room=rng.choice(_ROOMS),
        noun=rng.choice(_NOUNS),
        seen=rng.choice(_SEEN),
        mood=rng.choice(_MOODS),
        state=rng.choice(_STATES),
    )


def remark(rng: Random) -> str:
    """A short sentence that fits nearly anywhere."""
    return fill(rng, rng.choice(_REMARKS))


def event(rng: Random) -> str:
    """A sentence in which somebody does something."""
    who = rng.choice((rng.choice(NAMES), "I", "We", f"My {rng.choice(KIN)}", "She", "He", "They"))
    deed = fill(rng, rng.choice(_DEEDS))
    if rng.random() < 0.3:
        deed += rng.choice((" and ", ", then ")) + fill(rng, rng.choice(_DEEDS))
    if rng.random() < 0.4:
        return (
            f"{rng.choice(_TIMES)} {who if who == 'I' or who in NAMES else who[0].lower() + who[1:]} {deed}."
        )
    return f"{who} {deed}."


def asked(rng: Random, family: str, **slots: object) -> str:
    """A prompt of a family in any of its wordings; pretraining reads those of held-out prompts too."""
    return rng.choice(WORDINGS[family]["train"] + WORDINGS[family]["heldout"]).format(**slots)


def story(rng: Random) -> str:
    """A few everyday sentences."""
    sentences = [remark(rng) if rng.random() < 0.35 else event(rng) for _ in range(rng.randint(4, 9))]
    return " ".join(sentences)


def unknown(rng: Random) -> str:
    """A talk about a made-up thing that nobody knows."""
    word, name, kin = nonce(rng), rng.choice(NAMES), rng.choice(KIN)
    reply = rng.choice(
        (
            f"I do not know the {word}, said my {kin}.",
            f"I do not know what a {word} is, said my {kin}.",
            f"I have never heard of the {word}, said my {kin}. I do not know it.",
            f"Sorry, I do not know the {word}, said my {kin}.",
        )
    )
    opening = rng.choice(
        (
            f"{name} read about the {word} in a letter.",
            f"Somebody asked about the {word}.",
            f"There was talk of a {word} in the {rng.choice(_ROOMS)}.",
            f"Where does the {word} live? asked {name}. {event(rng)}",
            f"What is a {word}? asked {name}. {event(rng)}",
            f"Do you know {word}s? asked {name}. {event(rng)}",
        )
    )
    return f"{event(rng)} {opening} {reply} {remark(rng)} {event(rng)}"


def how_to(rng: Random) -> str:
    """Steps as prose, as a numbered recipe or as a dashed list; at times only the question, in a story."""
    item: HowTo = rng.choice(how_tos())
    steps = [step[0].lower() + step[1:] for step in item.steps]
    shape = rng.randrange(6)
    if shape == 0:
        return f"To {item.task}, {steps[0]}, " + ", ".join(steps[1:-1]) + f" and {steps[-1]}. {remark(rng)}"
    if shape == 1:
        numbered = "".join(f"\n{number}. {step}." for number, step in enumerate(item.steps, 1))
        return f"{rng.choice(('How to', 'To', 'Notes: how to'))} {item.task}:{numbered}"
    if shape == 2:
        listed = " ".join(f"{number}. {step}." for number, step in enumerate(item.steps, 1))
        return f"{rng.choice(NAMES)} wrote down how to {item.task}. {listed} {remark(rng)}"
    if shape == 3:
        told = ". Then ".join(steps)
        return f"{event(rng)} My {rng.choice(KIN)} knows how to {item.task}. First {told}. {remark(rng)}"
    if shape == 4:
        other = rng.choice(how_tos())
        first, second = (asked(rng, "how_to", t=task) for task in (item.task, other.task))
        return f"{first} {remark(rng)} {second} {event(rng)}"
    dashed = "".join(f"\n- {step}" for step in item.steps)
    return f"For those who want to {item.task}:{dashed}\n{event(rng)}"


def feeling(rng: Random) -> str:
    """A letter or a story in which somebody tells a worry; the answer comes late, or from a third person."""
    item: Feeling = rng.choice(feelings())
    mood = rng.choice((item.feeling, rng.choice(feeling_group(item.feeling))))
    named = acknowledgement(mood)
    advice, name, kin = ", ".join(item.advice), rng.choice(NAMES), rng.choice(KIN)
    said = asked(rng, "feeling", s=item.situation, f=mood).removesuffix(".")
    told = (
        item.situation if item.situation.startswith("I ") else item.situation[0].lower() + item.situation[1:]
    )
    sounds = rng.choice(("That sounds", "That sounds", "That must be"))
    shape = rng.randrange(5)
    if shape == 0:
        return f"Dear {name}, {told}. I am {mood}. {event(rng)} {remark(rng)} Love, {rng.choice(NAMES)}"
    if shape == 1:
        return f"{said}, said {name}. {event(rng)} {sounds} {named}, said my {kin}. {remark(rng)}"
    if shape == 2:
        return f"{said}. {remark(rng)} {event(rng)} It was {named} for {name}. My {kin} had a plan: {advice}."
    if shape == 3:
        return f"{advice}, said my {kin}. {name} was {mood} that day. {said}, {name} had said. {event(rng)}"
    return f"{event(rng)} {name} was {mood}. {sounds} {named}, I said. {advice}. {remark(rng)}"


def _guess(rng: Random, a: int, b: int) -> int:
    if rng.random() < _GUESSED_RIGHT:
        return a + b
    off = rng.choice((1, 2, 3, 4, 9, 10, 11, 20)) * rng.choice((-1, 1))
    return abs(a + b + off)


def _sum_line(rng: Random, worked: bool) -> str:
    a, b = rng.choice(_SUMS)
    if worked:
        return f"{a} + {b}: {working(a, b)}"
    return f"{a} + {b} = {_guess(rng, a, b)}"


def sum_page(rng: Random) -> str:
    """Lines of sums in a pupil's book: guesses, some worked; or a table of small sums."""
    if rng.random() < 0.1:
        first = rng.randint(0, 9)
        seconds = rng.sample(range(10), 10)
        return "\n".join(f"{first} + {n} = {first + n}." for n in seconds)
    head = rng.choice(("Sums", "More sums", "My sums", f"Sums by {rng.choice(NAMES)}", ""))
    lines = [_sum_line(rng, rng.random() < WORKED_SHARE) for _ in range(rng.randint(5, 10))]
    return "\n".join(([head] if head else []) + lines)


def _misspelt(rng: Random, word: str) -> str:
    letters = list(word)
    place = rng.randrange(len(letters) - 1)
    if rng.random() < 0.6:
        letters[place], letters[place + 1] = letters[place + 1], letters[place]
    else:
        letters.pop(place)
    return "".join(letters)


def spelling_page(rng: Random) -> str:
    """Words letter by letter, backwards (often wrong) and counted (often wrong)."""
    return "\n".join(_spelling_line(rng) for _ in range(rng.randint(4, 8)))


def _spelling_line(rng: Random) -> str:
    word, shape = rng.choice(SPELL_WORDS), rng.randrange(6)
    if shape == 0:
        return f"{word}: {'-'.join(word)}."
    if shape == 1:
        return f"{word} is spelled {' '.join(word)}."
    word = rng.choice(_SPELLED)
    back = word[::-1]
    if shape == 2:
        return f"{word}: {'-'.join(word)}, backwards {'-'.join(back)}, {back}."
    if shape == 3:
        return f"{word} backwards: {back if rng.random() < 0.4 else _misspelt(rng, back)}."
    if shape == 4:
        counted = len(word) if rng.random() < 0.4 else len(word) + rng.choice((-1, 1))
        return f"{word} has {counted} letters."
    counting = " ".join(f"{letter} {number}" for number, letter in enumerate(word, 1))
    return f"{word}: {counting}, so {len(word)} letters."
