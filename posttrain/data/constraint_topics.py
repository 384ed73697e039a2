"""Topics for prompts with verifiable constraints: what one sentence, one word or three items may say of each.

Each is name, kind, three things, and three sentences without commas, the i-th of which names the i-th thing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConstraintTopic:
    """A plural noun, the kind of thing it is, and what can be said of it."""

    name: str
    kind: str
    things: tuple[str, str, str]
    sentences: tuple[str, str, str]


_ROWS = """
bees|insects|honey flowers hives|Bees make honey.|They visit flowers.|They live in hives.
apples|fruits|trees pies seeds|Apples grow on trees.|People bake them in pies.|They have small seeds.
trains|vehicles|rails stations wheels|Trains run on rails.|They stop at stations.|They have steel wheels.
cats|animals|mice naps fur|Cats hunt mice.|They take long naps.|They have soft fur.
rivers|waters|rain fish valleys|Rivers carry rain.|They are full of fish.|They carve deep valleys.
books|objects|pages stories shelves|Books have many pages.|They tell stories.|People keep them on shelves.
bakers|workers|bread ovens flour|Bakers make bread.|They work near hot ovens.|They use a lot of flour.
owls|birds|night mice feathers|Owls hunt at night.|They eat mice.|They have quiet feathers.
carrots|vegetables|soil soups rabbits|Carrots grow in soil.|Cooks put them in soups.|Rabbits love them.
guitars|instruments|strings songs wood|Guitars have six strings.|They carry songs.|They are made of wood.
teachers|workers|schools lessons pupils|Teachers work in schools.|They give lessons.|They help their pupils.
whales|mammals|oceans krill calves|Whales live in oceans.|Many of them eat krill.|They care for their calves.
bicycles|vehicles|pedals helmets streets|Bicycles have two pedals.|Riders wear helmets.|They fill our streets.
deserts|places|sand camels heat|Deserts are full of sand.|They are home to camels.|They store great heat.
clouds|shapes|water rain sky|Clouds are made of water.|They bring rain.|They cross the sky.
dogs|animals|bones walks tails|Dogs chew bones.|They need daily walks.|They wag their tails.
lemons|fruits|juice tea vitamins|Lemons give sour juice.|They go well with tea.|They are rich in vitamins.
farmers|workers|fields crops tractors|Farmers work in fields.|They grow crops.|They drive tractors.
penguins|birds|ice fish eggs|Penguins walk on ice.|They dive for fish.|They guard their eggs.
castles|buildings|towers walls kings|Castles have tall towers.|They have thick walls.|They belong to kings.
spoons|tools|soup sugar metal|Spoons are good for soup.|They stir sugar.|Most are metal.
spiders|creatures|webs flies legs|Spiders spin webs.|They catch flies.|They have eight legs.
roses|flowers|thorns gardens scent|Roses have sharp thorns.|They grow in gardens.|They have a sweet scent.
volcanoes|mountains|lava ash islands|Volcanoes pour out lava.|They throw up ash.|They can form islands.
doctors|workers|patients hospitals medicine|Doctors help patients.|They run hospitals.|They give medicine.
frogs|animals|ponds flies jumps|Frogs live near ponds.|They eat flies.|They make long jumps.
potatoes|vegetables|soil chips starch|Potatoes grow in soil.|People fry them as chips.|They contain starch.
candles|objects|wax light birthdays|Candles are made of wax.|They give soft light.|They suit birthdays.
ships|vehicles|seas harbours cargo|Ships cross the seas.|They rest in harbours.|They carry heavy cargo.
libraries|buildings|books readers silence|Libraries lend books.|They welcome readers.|They ask for silence.
sheep|animals|wool grass lambs|Sheep give us wool.|They eat grass.|They raise lambs in spring.
stars|suns|light sky gas|Stars give off light.|They fill the night sky.|They are made of hot gas.
"""
_HELD_OUT = """
elephants|mammals|trunks herds tusks|Elephants have trunks.|They live in herds.|Many of them have tusks.
bananas|fruits|bunches peel monkeys|Bananas grow in bunches.|They have a yellow peel.|They feed monkeys.
planes|vehicles|wings airports pilots|Planes have two wings.|They land at airports.|They need trained pilots.
pianos|instruments|keys concerts strings|Pianos have many keys.|They suit concerts.|They hide steel strings.
foxes|animals|dens tails chickens|Foxes sleep in dens.|They have bushy tails.|They may steal chickens.
onions|vegetables|layers tears salads|Onions have many layers.|They cause tears.|They are good in salads.
forests|places|trees birds shade|Forests are full of trees.|They are home to birds.|They give cool shade.
nurses|workers|patients hospitals bandages|Nurses lift patients.|They run hospitals.|They tie bandages.
eagles|birds|nests claws cliffs|Eagles build big nests.|They have sharp claws.|They live near cliffs.
clocks|machines|hands time walls|Clocks have two hands.|They tell the time.|They hang on walls.
tulips|flowers|bulbs spring gardens|Tulips grow from bulbs.|They bloom in spring.|They brighten gardens.
bridges|buildings|rivers cars steel|Bridges cross rivers.|They carry cars.|Many are made of steel.
butterflies|insects|wings flowers nectar|Butterflies have wings.|They visit flowers.|They drink nectar.
chefs|workers|kitchens menus knives|Chefs work in kitchens.|They plan menus.|They use sharp knives.
lakes|waters|boats fish swimmers|Lakes are good for boats.|They are full of fish.|They attract swimmers.
horses|animals|hay stables riders|Horses eat hay.|They sleep in stables.|They carry riders.
"""


def _read(rows: str) -> tuple[ConstraintTopic, ...]:
    topics = []
    for row in rows.strip().splitlines():
        name, kind, things, first, second, third = row.split("|")
        one, two, three = things.split()
        topics.append(ConstraintTopic(name, kind, (one, two, three), (first, second, third)))
    return tuple(topics)


TRAIN = _read(_ROWS)
HELD_OUT = _read(_HELD_OUT)
