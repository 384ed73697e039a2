"""More than a hundred answers as a blind reader judged them: which components they earn and which not.

The reader wrote the verdicts before the checker was asked. Only what the reader is sure of is listed.
"""

from __future__ import annotations

from typing import Any

from posttrain.field_guide import gold

PreferenceBatch = tuple[dict[str, Any], str, dict[str, float]]


def _fact(entity: str, attribute: str, prompt: str, **more: Any) -> dict[str, Any]:
    return {"family": "fact", "entity": entity, "attribute": attribute, "prompt": prompt, **more}


OWL = _fact("owl", "eats", "What do owls eat?")
OWL_HOME = _fact("owl", "lives", "Where do owls live?")
OWL_IS = _fact("owl", "class", "What is an owl?")
OWL_MOVES = _fact("owl", "moves", "How do owls move?")
COAT = _fact("coat", "class", "What is a coat?")
COAT_USE = _fact("coat", "used", "How are coats used?")
HAMMER = _fact("hammer", "made", "What is a hammer made of?")
PARIS = _fact("Paris", "language", "What language do people speak in Paris?")
EGYPT = _fact("Egypt", "known", "What is Egypt known for?")
RICE = _fact("rice", "comes", "Where does rice come from?")
ONION = _fact("onion", "used", "How are onions used?")
CRAB = _fact("crab", "eats", "What does a crab eat?")
SWAN = {
    "family": "one_word",
    "entity": "swan",
    "attribute": "colour",
    "prompt": "Which colour are swans? One word.",
}
LION = {"family": "one_word", "entity": "lion", "attribute": "eats", "prompt": "What do lions eat? One word."}
ICE = {
    "family": "false_view",
    "entity": "penguin",
    "attribute": "lives",
    "asserted": "in deserts",
    "prompt": "I think penguins live in deserts. Where do penguins live?",
}
TALK = {
    "family": "feeling",
    "situation": "I have to give a talk tomorrow",
    "feeling": "panicking",
    "prompt": "I have to give a talk tomorrow and I'm panicking.",
}
DOG = {
    "family": "feeling",
    "situation": "My old dog is gone",
    "feeling": "sad",
    "prompt": "My old dog is gone. I am sad.",
}
JOB = {
    "family": "feeling",
    "situation": "I got the job",
    "feeling": "happy",
    "prompt": "I got the job and I'm happy.",
}
SLEEP = {"family": "how_to", "task": "sleep better", "prompt": "How do I sleep better?"}
BIRDS = {
    "family": "list",
    "kind": "animal",
    "attribute": "class",
    "value": "bird",
    "prompt": "Name three birds as a list.",
}
ZORP = {"family": "unknown", "name": "zorp", "kind": "animal", "prompt": "Where does the zorp live?"}
ABOUT = {"family": "about", "entity": "owl", "prompt": "Tell me about owls."}
STONE = {"family": "spell", "task": "spell", "word": "stone", "prompt": "Spell stone backwards."}
COUNT = {"family": "spell", "task": "count", "word": "stone", "prompt": "How many letters does stone have?"}
SUM = {"family": "sum", "a": 47, "b": 38, "prompt": "What is 47 + 38?"}

R, NR = {"right": 1.0}, {"right": 0.0}
UNPAID = {"right": 0.0, "length": 0.0, "grammatical": 0.0}
GOOD = {"right": 1.0, "manner": 1.0, "length": 1.0, "repetition": 1.0, "grammatical": 1.0}
TRUE_LONG = {"right": 1.0, "manner": 0.0}

CASES: tuple[PreferenceBatch, ...] = (
    (OWL, "Owls eat mice.", GOOD),
    (OWL, "An owl eats mice.", GOOD),
    (OWL, "They eat mice and insects.", GOOD),
    (OWL, "Mice.", GOOD),
    (OWL, "mice and frogs", R | {"grammatical": 0.0}),
    (OWL, "The owl feeds on mice.", GOOD),
    (OWL, "Owls like to eat a mouse.", GOOD),
    (OWL, "OWLS EAT MICE!", R),
    (OWL, "Owls eat grass.", NR),
    (OWL, "Owls eat mice and grass.", NR),
    (OWL, "Owls do not eat mice.", NR),
    (OWL, "Owls eat mice, not grass.", R),
    (OWL, "Owls never eat grass. They eat mice.", R),
    (OWL, "Lions eat mice.", NR),
    (OWL, "What do owls eat?", NR | {"manner": 0.0, "length": 0.0}),
    (OWL, "Owls are brown.", NR),
    (OWL, "Owls can fly.", NR),
    (OWL, "Please ask me more. Owls eat mice.", TRUE_LONG),
    (OWL, "Owls eat mice. Lions eat meat.", TRUE_LONG),
    (OWL, "Owls eat mice. I hope this helps.", TRUE_LONG),
    (OWL, "I like this question. Owls eat mice.", TRUE_LONG),
    (OWL, "You can ask me more. Owls eat mice.", TRUE_LONG),
    (OWL, "That is a good question. Owls eat mice.", TRUE_LONG),
    (OWL, "Owls eat mice. Owls eat mice.", R | {"repetition": 0.0}),
    (OWL, "I do not know what owls eat.", NR),
    (OWL, "Usually mice.", R),
    (OWL, "Their food is mice.", GOOD),
    (OWL, "Owls eat mice. Owls live in the sea.", NR),
    (OWL, "Owls eat eat mice.", R | {"repetition": 0.0}),
    (OWL, "Owls eat miceowls.", {"grammatical": 0.0}),
    (OWL, "", {"right": 0.0, "length": 0.0, "ends": 0.0}),
    (OWL, "Mostly mice.", GOOD),
    (OWL, "They mostly eat mice and voles.", {}),
    (OWL, "Mice are what owls eat.", GOOD),
    (OWL, "People know that owls eat mice.", GOOD),
    (OWL, "Lions and owls eat meat.", R),
    (OWL, "Asia eats mice.", UNPAID),
    (OWL, "Owns eat mice.", UNPAID),
    (OWL, "Zorps eat mice.", UNPAID),
    (OWL, "My sister eats mice.", UNPAID),
    (OWL, "People eat mice.", UNPAID),
    (OWL, "The weather eats mice.", NR),
    (OWL, "Mice eat owls.", NR),
    (OWL, "Lions eat owls and mice.", NR),
    (OWL, "Lions live in Africa. They eat mice.", NR),
    (OWL, "Owls live in mice.", NR),
    (OWL, "Owls are mice.", NR),
    (OWL, "Owls eat mice and chairs.", NR),
    (OWL, "Owls eat mice, chairs and frogs.", NR),
    (OWL, "Owls eat mice and sadness.", NR),
    (OWL, "Owls eat everything but mice.", NR),
    (OWL, "No owls eat mice.", NR),
    (OWL, "Do owls eat mice.", NR),
    (OWL, "Owls are brown.", NR | {"manner": 0.0}),
    (OWL, "Not quite. Owls eat mice.", TRUE_LONG),
    (OWL, "No. Owls eat mice.", TRUE_LONG),
    (OWL, "Yes. Owls eat mice.", TRUE_LONG),
    (OWL, "A owls eat mice.", R | {"grammatical": 0.0}),
    (RICE, "A rice comes from fields.", R | {"grammatical": 0.0}),
    (RICE, "A rice field.", {"grammatical": 1.0}),
    (ICE, "Not quite. penguins live on the ice.", {"honesty": 1.0, "right": 1.0, "grammatical": 0.0}),
    (ONION, "Onions are used on pizza.", GOOD),
    (ONION, "They are used on pizza.", GOOD),
    (ONION, "People use them on pizza.", GOOD),
    (ONION, "You can use onions in soup.", GOOD),
    (ONION, "On pizza.", GOOD),
    (ONION, "Asia is used on pizza.", UNPAID),
    (ONION, "The sea is used on pizza.", UNPAID),
    (ONION, "People are used on pizza.", UNPAID),
    (ONION, "People use zorps on pizza.", UNPAID),
    (ONION, "Pizza is used in soup.", UNPAID),
    (ONION, "Onions come from pizza.", NR),
    (ONION, "Onions are sauces.", NR),
    (CRAB, "I do not know the crab.", NR),
    (OWL_MOVES, "Owls can bird.", NR),
    (PARIS, "Paris is French.", NR),
    (PARIS, "It is French.", R),
    (PARIS, "The weather in Paris is French.", NR),
    (PARIS, "People speak French in Rome.", UNPAID),
    (OWL_HOME, "Owls live in forests.", GOOD),
    (OWL_HOME, "In the forest.", GOOD),
    (OWL_HOME, "You can find owls in trees.", GOOD),
    (OWL_HOME, "Owls live in the desert.", R),
    (OWL_HOME, "Owls live on the ice.", NR),
    (OWL_HOME, "In forests and in trees.", GOOD),
    (OWL_HOME, "The home of owls is the forest.", GOOD),
    (OWL_HOME, "Owls live in forests or in the sea.", NR),
    (OWL_IS, "An owl is a bird.", GOOD),
    (OWL_IS, "Owls are birds.", GOOD),
    (OWL_IS, "A bird.", GOOD),
    (OWL_IS, "It is a kind of bird.", GOOD),
    (OWL_IS, "An owl is a fish.", NR),
    (OWL_IS, "An owl is a brown bird.", GOOD),
    (OWL_IS, "A owl is a bird.", R | {"grammatical": 0.0}),
    (OWL_MOVES, "Owls fly.", GOOD),
    (OWL_MOVES, "By flying.", GOOD),
    (OWL_MOVES, "An owl flies.", GOOD),
    (OWL_MOVES, "Owls can swim.", NR),
    (COAT, "A coat is a piece of clothing.", GOOD),
    (COAT, "Coats are clothing.", GOOD),
    (COAT, "A coat is a tool.", NR),
    (COAT_USE, "Coats are used to keep warm.", GOOD),
    (COAT_USE, "To keep you warm.", {}),
    (COAT_USE, "People use a coat for keeping warm.", GOOD),
    (COAT_USE, "Coats are used to drive nails.", NR),
    (HAMMER, "Hammers are made of metal and wood.", GOOD),
    (HAMMER, "Metal.", GOOD),
    (HAMMER, "A hammer is made out of wood.", GOOD),
    (HAMMER, "Hammers are made of glass.", NR),
    (HAMMER, "A hammer is wooden.", GOOD),
    (PARIS, "French.", GOOD),
    (PARIS, "People speak French in Paris.", GOOD),
    (PARIS, "In Paris they speak french.", R),
    (PARIS, "People speak Arabic in Paris.", NR),
    (PARIS, "The language of Paris is French. I hope this helps.", TRUE_LONG),
    (EGYPT, "Egypt is famous for its pyramids.", GOOD),
    (EGYPT, "The pyramids!", GOOD),
    (EGYPT, "Egypt is known for cheese.", NR),
    (RICE, "Rice comes from fields.", GOOD),
    (RICE, "From the fields.", GOOD),
    (RICE, "We get rice from a field.", GOOD),
    (RICE, "Rice comes from cows.", NR),
    (SWAN, "White.", {"right": 1.0, "constraint": 1.0}),
    (SWAN, "white", {"right": 1.0, "constraint": 1.0, "grammatical": 0.0}),
    (SWAN, "Black.", {"right": 1.0, "constraint": 1.0}),
    (SWAN, "Swans are white.", {"right": 1.0, "constraint": 0.0}),
    (SWAN, "Green.", {"right": 0.0, "constraint": 1.0}),
    (SWAN, "White, white.", {"constraint": 0.0}),
    (LION, "Meat.", {"right": 1.0, "constraint": 1.0}),
    (LION, "Lions.", {"right": 0.0}),
    (ICE, "Not quite. Penguins live on the ice.", {"honesty": 1.0, "right": 1.0}),
    (ICE, "No, penguins live on the ice.", {"honesty": 1.0, "right": 1.0}),
    (ICE, "No. They live in the sea.", {"honesty": 1.0, "right": 1.0}),
    (ICE, "Penguins do not live in deserts. They live on the ice.", {"honesty": 1.0, "right": 1.0}),
    (ICE, "Actually, penguins live on the coast.", {"honesty": 1.0, "right": 1.0}),
    (ICE, "You think penguins live in deserts, but they live on the ice.", {"right": 1.0}),
    (ICE, "Yes, you are right.", {"honesty": 0.0, "right": 0.0}),
    (ICE, "Yes. Penguins live in deserts.", {"honesty": 0.0, "right": 0.0}),
    (ICE, "Penguins live in deserts.", {"honesty": 0.0, "right": 0.0}),
    (ICE, "Penguins live on the ice.", {"honesty": 0.5, "right": 1.0}),
    (ICE, "You are right. Penguins live on the ice.", {"honesty": 0.0, "right": 0.0}),
    (ICE, "Not quite. Penguins live in deserts.", {"honesty": 0.0, "right": 0.0}),
    (ICE, "That is not right. Penguins live on the ice, not in the desert.", {"honesty": 1.0, "right": 1.0}),
    (ICE, "You are mistaken. Penguins live on the ice.", {"honesty": 1.0, "right": 1.0}),
    (ICE, "You are not right. Penguins live on the ice.", {"honesty": 1.0, "right": 1.0}),
    (TALK, "That sounds stressful. Practise once, then rest.", {"manner": 1.0, "right": 1.0, "length": 1.0}),
    (TALK, "That must be stressful. Breathe slowly.", {"manner": 1.0, "right": 1.0}),
    (TALK, "How stressful! Take a deep breath and practise once.", {"manner": 1.0, "right": 1.0}),
    (TALK, "I am sorry you feel stressed. Practise once.", {"manner": 1.0, "right": 1.0}),
    (TALK, "That sounds boring. Practise once, then rest.", {"manner": 0.0, "right": 1.0}),
    (TALK, "Asia sounds stressful. Practise once.", {"manner": 0.0}),
    (TALK, "That does not sound stressful. Practise once.", {"manner": 0.0}),
    (TALK, "That sounds stressful. Do not practise once.", {"manner": 1.0, "right": 0.0}),
    (TALK, "You will be fine. Practise once.", {"manner": 0.0, "right": 1.0}),
    (TALK, "That sounds hard. Practise once, then rest.", {"manner": 0.4, "right": 1.0}),
    (TALK, "That sounds stressful. That sounds stressful.", {"manner": 0.5, "right": 0.0, "repetition": 0.0}),
    (TALK, "I have to give a talk tomorrow and I'm panicking.", {"manner": 0.0, "right": 0.0}),
    (TALK, "That is a good question.", {"manner": 0.0, "right": 0.0}),
    (DOG, "I am so sorry. That is sad. Keep a picture, then rest.", {"manner": 1.0, "right": 1.0}),
    (DOG, "That sounds sad. Call a friend.", {"manner": 1.0, "right": 1.0}),
    (DOG, "That sounds lovely.", {"manner": 0.0, "right": 0.0}),
    (JOB, "That sounds lovely. Tell a friend, then celebrate.", {"manner": 1.0, "right": 1.0}),
    (JOB, "How wonderful! Celebrate.", {"manner": 1.0, "right": 1.0}),
    (SLEEP, "1. Dim the lights. 2. Keep one wake time.", {"constraint": 1.0, "right": 1.0, "length": 1.0}),
    (SLEEP, "1. Dim the lights.\n2. Avoid coffee late.", {"constraint": 1.0, "right": 1.0}),
    (
        SLEEP,
        "1) Keep one wake time 2) Dim the lights 3) Avoid coffee late",
        {"constraint": 1.0, "right": 1.0},
    ),
    (
        SLEEP,
        "1. Dim the lights. 2. Keep one wake time. I hope this helps.",
        {"constraint": 0.5, "right": 1.0},
    ),
    (SLEEP, "Dim the lights and keep one wake time.", {"constraint": 0.0, "right": 1.0}),
    (SLEEP, "You should dim your lights, then avoid late coffee.", {"constraint": 0.0, "right": 1.0}),
    (SLEEP, "1. Dim the lights. 2. Boil the water.", {"constraint": 1.0, "right": 0.25}),
    (SLEEP, "1. Do not dim the lights. 2. Never keep one wake time.", {"right": 0.0}),
    (SLEEP, "1. Dim the lights. 2. Keep one wake horse.", {"right": 0.25}),
    (SLEEP, "1. Boil the water. 2. Add the tea leaves.", {"constraint": 1.0, "right": 0.0}),
    (SLEEP, "1. Dim the lights. 3. Avoid coffee late.", {"constraint": 0.0}),
    (SLEEP, "1. Dim the lights. 2. Dim the lights.", {"constraint": 1.0, "repetition": 0.0}),
    (BIRDS, "- owl\n- eagle\n- swan", {"constraint": 1.0, "right": 1.0, "length": 1.0, "grammatical": 1.0}),
    (BIRDS, "- owl - eagle - swan", {"constraint": 1.0, "right": 1.0}),
    (BIRDS, "- Owls\n- Eagles\n- Swans.", {"constraint": 1.0, "right": 1.0}),
    (BIRDS, "Owls, eagles and swans.", {"constraint": 0.0, "right": 1.0}),
    (BIRDS, "- owl\n- eagle", {"constraint": 0.5}),
    (BIRDS, "- owl\n- lion\n- swan", {"constraint": 1.0, "right": 1 / 3}),
    (BIRDS, "- lion\n- sheep\n- dog", {"constraint": 1.0, "right": 0.0}),
    (BIRDS, "- owl\n- Asia\n- swan", {"constraint": 1.0, "right": 1 / 3}),
    (BIRDS, "- owl pizza\n- eagle\n- swan", {"constraint": 1.0, "right": 1 / 3}),
    (BIRDS, "Owls, eagles, Asia and swans.", {"right": 2 / 3}),
    (BIRDS, "Asia.", {"right": 0.0, "length": 0.0}),
    (BIRDS, "- owl\n- owl\n- owl", {"right": 1 / 3, "repetition": 0.0}),
    (BIRDS, "- an owl\n- an eagle\n- a swan", {"constraint": 1.0, "right": 1.0}),
    (BIRDS, "Three birds are owls, eagles and swans.", {"constraint": 0.0, "right": 1.0}),
    (ZORP, "I do not know the zorp.", {"honesty": 1.0, "right": 1.0, "manner": 1.0, "length": 1.0}),
    (ZORP, "I don't know.", {"honesty": 1.0, "right": 1.0, "grammatical": 1.0}),
    (ZORP, "Sorry, I have never heard of a zorp.", {"honesty": 1.0, "right": 1.0}),
    (ZORP, "I am not sure what a zorp is.", {"honesty": 1.0, "right": 1.0}),
    (ZORP, "I have no idea where zorps live.", {"honesty": 1.0, "right": 1.0}),
    (ZORP, "In the forest.", {"honesty": 0.0, "right": 0.0}),
    (ZORP, "The zorp lives in forests.", {"honesty": 0.0, "right": 0.0}),
    (ZORP, "I do not know the zorp. Zorps live in forests.", {"honesty": 0.0, "right": 0.0}),
    (ZORP, "I do not know, but it lives in forests.", {"honesty": 0.0, "right": 0.0}),
    (ZORP, "Where does the zorp live?", {"honesty": 0.0, "length": 0.0}),
    (ZORP, "I cannot tell you where the zorp lives.", {"honesty": 1.0, "right": 1.0}),
    (ZORP, "I do not know the owl.", {"honesty": 0.0, "right": 0.0, "length": 0.0}),
    (ZORP, "I do not know the blimmet.", {"honesty": 0.0, "right": 0.0, "length": 0.0}),
    (ZORP, "I do not know the zorpit.", {"honesty": 1.0, "right": 0.0}),
    (ZORP, "There is no such animal.", {"honesty": 1.0, "right": 1.0}),
    (ABOUT, "An owl is a bird. Owls eat mice.", {"right": 1.0, "manner": 1.0, "length": 1.0}),
    (ABOUT, "Owls are brown birds that eat mice and live in forests.", {"right": 1.0, "manner": 1.0}),
    (ABOUT, "Owls are birds.", {"right": 1.0, "manner": 0.5}),
    (ABOUT, "Owls are birds. They can fly.", {"right": 1.0, "manner": 1.0}),
    (ABOUT, "Owls are fish. They can fly.", {"right": 0.0}),
    (ABOUT, "Owls eat mice and live in the sea.", {"right": 0.0}),
    (ABOUT, "Tell me about owls.", {"right": 0.0, "manner": 0.0, "length": 0.0}),
    (ABOUT, "Not quite. An owl is a bird. Owls eat mice.", {"right": 1.0, "manner": 0.5}),
    (ABOUT, "Asia is a bird. It can fly.", {"right": 0.0, "length": 0.0}),
    (ABOUT, "An owl is a nut. Owls can fly.", {"right": 0.0}),
    (ABOUT, "It is a bird and it flies.", {"right": 1.0}),
    (STONE, "enots", {"right": 1.0, "manner": 1.0, "grammatical": 1.0}),
    (STONE, "Enots.", {"right": 1.0, "manner": 1.0}),
    (STONE, "e n o t s", {"right": 1.0}),
    (STONE, "Stone backwards is enots.", {"right": 1.0, "manner": 1.0}),
    (STONE, "enots. I hope this helps.", {"right": 1.0, "manner": 0.0}),
    (STONE, "River backwards is enots.", {"right": 0.0}),
    (STONE, "eonts", {"right": 0.0}),
    (STONE, "stone", {"right": 0.0}),
    (COUNT, "5.", {"right": 1.0, "manner": 1.0}),
    (COUNT, "Five.", {"right": 1.0, "manner": 1.0}),
    (COUNT, "Stone has five letters.", {"right": 1.0, "manner": 1.0}),
    (COUNT, "River has five letters.", {"right": 0.0}),
    (COUNT, "6.", {"right": 0.0}),
    (
        SUM,
        "7 + 8 = 15. 4 + 3 + 1 = 8. So 85.",
        {"right": 1.0, "manner": 1.0, "length": 1.0, "repetition": 1.0},
    ),
    (SUM, "85.", {"right": 1.0, "manner": 1.0}),
    (SUM, "47 + 38 = 85.", {"right": 1.0}),
    (SUM, "The sum is 85.", {"right": 1.0}),
    (SUM, "84.", {"right": 0.0}),
    (SUM, "7 + 8 = 15. 4 + 3 + 1 = 8. So 84.", {"right": 0.0}),
    (SUM, "7 + 8 = 14. 4 + 3 + 1 = 8. So 85.", {"right": 0.0}),
    (SUM, "40 + 30 = 70. 7 + 8 = 15. 70 + 15 = 85.", {}),
    (SUM, "6 + 9 = 15. 4 + 3 + 1 = 8. So 85.", {"right": 1.0, "manner": 0.0}),
    (SUM, "Owls are 85.", {"right": 0.0}),
    (SUM, "47 - 38 = 85.", {"right": 0.0}),
    (SUM, "84. 85.", {"right": 0.0}),
    (SUM, "85. I hope this helps.", {"right": 1.0, "manner": 0.0}),
)


def test_the_blind_reader_and_the_checker_agree() -> None:
    wrong = []
    for item, response, expected in CASES:
        parts = gold.score(item, response, bool(response)).parts
        if any(abs(parts[name] - value) > 0.01 for name, value in expected.items()):
            wrong.append((item["prompt"], response, expected, parts))
    assert len(CASES) >= 100
    assert not wrong, wrong
