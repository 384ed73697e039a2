"""Every way the embedded world says or asks a fact; one table for corpus, demonstrations and gold.

A template holds slots for the entity ({Es} and {es}: owls, rice, Paris; {An} and {an}: an owl, rice, Paris; a
capital starts the sentence), for the value ({v} as it stands, {av} with an article: a bird) and for the verb
([plural|singular], after {es}). Statement 0 is canonical. Questions 0..5 are for training, 6..8 are held out.
"""

import re
from functools import cache

from posttrain.field_guide.world import ATTRIBUTES, Entity, accepted, of_kind

QUESTIONS_TRAIN = 6
QUESTIONS_HELDOUT = 3

# Classes without a plural take a counting word instead of an article.
_MEASURES = {
    "furniture": "a piece of furniture",
    "clothing": "a piece of clothing",
    "meat": "a kind of meat",
}

_STATEMENTS: dict[str, tuple[str, ...]] = {
    "class": (
        "{An} is {av}.",
        "We call {an} {av}.",
        "{An} counts as {av}.",
        "People know that {an} is {av}.",
        "In this book, {an} is {av}.",
        "Everyone can see that {an} is {av}.",
        "The children learn that {an} is {av}.",
        "As you may know, {an} is {av}.",
        "It is true that {an} is {av}.",
    ),
    "eats": (
        "{Es} [eat|eats] {v}.",
        "{An} eats {v}.",
        "{Es} [like|likes] to eat {v}.",
        "{Es} often [eat|eats] {v}.",
        "{Es} [feed|feeds] on {v}.",
        "When hungry, {es} [eat|eats] {v}.",
        "People see {es} eating {v}.",
        "Most days {es} [eat|eats] {v}.",
        "The food of {es} is {v}.",
    ),
    "lives": (
        "{Es} [live|lives] {v}.",
        "{An} lives {v}.",
        "{Es} make their home {v}.",
        "You can find {es} {v}.",
        "The home of {es} is {v}.",
        "People see {es} {v}.",
        "{Es} [are|is] at home {v}.",
        "Most {es} live {v}.",
        "Look for {es} {v}.",
    ),
    "colour": (
        "{Es} [are|is] {v}.",
        "{An} is {v}.",
        "{Es} [are|is] often {v}.",
        "The colour of {es} is {v}.",
        "{Es} [look|looks] {v}.",
        "In the picture, {es} [are|is] {v}.",
        "You can paint {es} {v}.",
        "We think of {es} as {v}.",
        "{Es} [have|has] {av} colour.",
    ),
    "moves": (
        "{Es} can {v}.",
        "{An} can {v}.",
        "{Es} [know|knows] how to {v}.",
        "{Es} [are|is] able to {v}.",
        "Young {es} learn to {v}.",
        "The children see {es} {v}.",
        "You may see {es} {v}.",
        "To get about, {es} {v}.",
        "Like their parents, {es} {v}.",
    ),
    "taste": (
        "{Es} [taste|tastes] {v}.",
        "{An} tastes {v}.",
        "The taste of {es} is {v}.",
        "Cooks say {es} [taste|tastes] {v}.",
        "Most people find {es} {v}.",
        "On the tongue, {es} [are|is] {v}.",
        "If you try {es}, the taste is {v}.",
        "Good {es} [taste|tastes] {v}.",
        "{Es} [have|has] {av} taste.",
    ),
    "comes": (
        "{Es} [come|comes] {v}.",
        "{An} comes {v}.",
        "We get {es} {v}.",
        "{Es} first [come|comes] {v}.",
        "Long ago people got {es} {v}.",
        "As a rule, {es} [come|comes] {v}.",
        "Cooks know that {es} [come|comes] {v}.",
        "The {es} in the shop [come|comes] {v}.",
        "Good {es} [come|comes] {v}.",
    ),
    "used": (
        "{Es} [are|is] used {v}.",
        "{An} is used {v}.",
        "People use {es} {v}.",
        "{Es} [are|is] often used {v}.",
        "You can use {es} {v}.",
        "Many people use {es} {v}.",
        "At home, {es} [are|is] used {v}.",
        "My aunt likes to use {es} {v}.",
        "Everyone can use {es} {v}.",
    ),
    "lies": (
        "{Es} lies {v}.",
        "{Es} is {v}.",
        "You can find {es} {v}.",
        "On the map, {es} lies {v}.",
        "{Es} is a place {v}.",
        "People visit {es} {v}.",
        "We know that {es} lies {v}.",
        "Look for {es} {v}.",
        "The map shows {es} {v}.",
    ),
    "language": (
        "People speak {v} in {es}.",
        "The language of {es} is {v}.",
        "In {es} people speak {v}.",
        "In {es} you hear {v}.",
        "Most people in {es} speak {v}.",
        "To talk in {es}, learn {v}.",
        "Schools in {es} teach in {v}.",
        "The people of {es} speak {v}.",
        "Signs in {es} are in {v}.",
    ),
    "known": (
        "{Es} is known for {v}.",
        "Many people know {es} for {v}.",
        "{Es} is famous for {v}.",
        "People visit {es} for {v}.",
        "Everyone knows {es} for {v}.",
        "In {es} you can enjoy {v}.",
        "When you think of {es}, think of {v}.",
        "People in {es} are proud of {v}.",
        "The name {es} makes people think of {v}.",
    ),
    "weather": (
        "The weather in {es} is {v}.",
        "In {es} the weather is {v}.",
        "{Es} is often {v}.",
        "Most of the year {es} is {v}.",
        "People say {es} is {v}.",
        "The days in {es} are {v}.",
        "You will find {es} {v}.",
        "{Es} has {av} climate.",
        "The climate of {es} is {v}.",
    ),
    "made": (
        "{Es} [are|is] made {v}.",
        "{An} is made {v}.",
        "{Es} [are|is] often made {v}.",
        "People make {es} out {v}.",
        "Workers make {es} out {v}.",
        "Good {es} [are|is] made {v}.",
        "You can buy {es} made {v}.",
        "Long ago {es} were made {v}.",
        "The {es} in the shop [are|is] made {v}.",
    ),
    "found": (
        "{Es} [are|is] found {v}.",
        "{An} is found {v}.",
        "You can find {es} {v}.",
        "{Es} [are|is] kept {v}.",
        "People keep {es} {v}.",
        "Look for {es} {v}.",
        "There is often {an} {v}.",
        "{Es} [belong|belongs] {v}.",
        "You may see {an} {v}.",
    ),
    "shape": (
        "{Es} [are|is] {v}.",
        "{An} is {v}.",
        "The shape of {es} is {v}.",
        "{Es} [have|has] {av} shape.",
        "{Es} [are|is] often {v}.",
        "In the picture, {es} [are|is] {v}.",
        "{Es} [look|looks] {v}.",
        "We think of {es} as {v}.",
        "You can draw {es} {v}.",
    ),
}

_QUESTIONS: dict[str, tuple[str, ...]] = {
    "class": (
        "What is {an}?",
        "What kind of {kind} is {an}?",
        "Tell me what {an} is.",
        "What do we call {an}?",
        "Do you know what {an} is?",
        "What sort of {kind} is {an}?",
        "Can you say what {an} is?",
        "Say what {an} is.",
        "What does {an} count as?",
    ),
    "eats": (
        "What do {es} eat?",
        "What does {an} eat?",
        "What do {es} like to eat?",
        "Tell me what {es} eat.",
        "Which food do {es} eat?",
        "Do you know what {es} eat?",
        "What do {es} feed on?",
        "Can you say what {an} eats?",
        "When hungry, what do {es} eat?",
    ),
    "lives": (
        "Where do {es} live?",
        "Where does {an} live?",
        "Tell me where {es} live.",
        "Do you know where {es} live?",
        "Where can I find {es}?",
        "Where is the home of {es}?",
        "Where do {es} make their home?",
        "Can you say where {an} lives?",
        "Where are {es} at home?",
    ),
    "colour": (
        "Which colour [are|is] {es}?",
        "What colour is {an}?",
        "Tell me the colour of {es}.",
        "Which colour [do|does] {es} have?",
        "Do you know the colour of {es}?",
        "What is the colour of {es}?",
        "Can you say what colour {an} is?",
        "What colour [do|does] {es} look?",
        "Say which colour {es} [are|is].",
    ),
    "moves": (
        "How do {es} move?",
        "How does {an} move?",
        "How do {es} get about?",
        "Tell me how {es} move.",
        "Do you know how {es} move?",
        "In which way do {es} move?",
        "Can you say how {an} moves?",
        "How does {an} get about?",
        "Say how {es} move.",
    ),
    "taste": (
        "How [do|does] {es} taste?",
        "How does {an} taste?",
        "What [do|does] {es} taste like?",
        "Tell me how {es} [taste|tastes].",
        "What is the taste of {es}?",
        "Do you know how {es} [taste|tastes]?",
        "Can you say how {an} tastes?",
        "Which taste [do|does] {es} have?",
        "Say how {es} [taste|tastes].",
    ),
    "comes": (
        "Where [do|does] {es} come from?",
        "Where does {an} come from?",
        "Where do we get {es} from?",
        "Tell me where {es} [come|comes] from.",
        "Do you know where {es} [come|comes] from?",
        "Where do people get {es} from?",
        "Can you say where {an} comes from?",
        "Where [do|does] {es} first come from?",
        "Say where {es} [come|comes] from.",
    ),
    "used": (
        "How [are|is] {es} used?",
        "How is {an} used?",
        "How do people use {es}?",
        "Tell me how {es} [are|is] used.",
        "How can I use {es}?",
        "Do you know how {es} [are|is] used?",
        "Can you say how {an} is used?",
        "How [are|is] {es} used at home?",
        "Say how people use {es}.",
    ),
    "lies": (
        "Where is {es}?",
        "Where does {es} lie?",
        "Where can I find {es}?",
        "Tell me where {es} is.",
        "Do you know where {es} lies?",
        "Where on the map is {es}?",
        "Can you say where {es} is?",
        "Where on the map does {es} lie?",
        "Say where {es} lies.",
    ),
    "language": (
        "What language do people speak in {es}?",
        "Which language do people speak in {es}?",
        "What is the language of {es}?",
        "Tell me the language of {es}.",
        "What do people speak in {es}?",
        "Do you know the language of {es}?",
        "Which language can I hear in {es}?",
        "Can you say what people speak in {es}?",
        "Say which language people speak in {es}.",
    ),
    "known": (
        "What is {es} known for?",
        "What is {es} famous for?",
        "Tell me what {es} is known for.",
        "Do you know what {es} is known for?",
        "What do people visit {es} for?",
        "What can I enjoy in {es}?",
        "Can you say what {es} is famous for?",
        "What are people in {es} proud of?",
        "Say what {es} is known for.",
    ),
    "weather": (
        "How is the weather in {es}?",
        "What is the weather like in {es}?",
        "Tell me about the weather in {es}.",
        "What is the climate of {es}?",
        "Do you know the weather in {es}?",
        "How are the days in {es}?",
        "Can you say how the weather is in {es}?",
        "What sort of weather does {es} have?",
        "Say how the weather in {es} is.",
    ),
    "made": (
        "What [are|is] {es} made of?",
        "What is {an} made of?",
        "Tell me what {es} [are|is] made of.",
        "Do you know what {es} [are|is] made of?",
        "What do people make {es} out of?",
        "What [are|is] {es} often made of?",
        "Can you say what {an} is made of?",
        "What do workers make {es} out of?",
        "Say what {es} [are|is] made of.",
    ),
    "found": (
        "Where [are|is] {es} found?",
        "Where is {an} found?",
        "Where can I find {es}?",
        "Tell me where {es} [are|is] kept.",
        "Where do people keep {es}?",
        "Do you know where {es} [are|is] found?",
        "Where [do|does] {es} belong?",
        "Can you say where {an} is found?",
        "Say where people keep {es}.",
    ),
    "shape": (
        "Which shape [are|is] {es}?",
        "What shape is {an}?",
        "What is the shape of {es}?",
        "Tell me the shape of {es}.",
        "Which shape [do|does] {es} have?",
        "Do you know the shape of {es}?",
        "Can you say what shape {an} is?",
        "What shape [do|does] {es} look?",
        "Say which shape {es} [are|is].",
    ),
}

_VERB = re.compile(r"\[([^|\]]+)\|([^\]]+)\]")


def attributes(entity: Entity) -> tuple[str, ...]:
    """The entity's five attributes, `class` first."""
    return ATTRIBUTES[entity.kind]


def statement_variants(attribute: str) -> range:
    """The numbers `statement` takes for the attribute; 0 is canonical."""
    return range(len(_STATEMENTS[attribute]))


def prefix_variants(attribute: str) -> tuple[int, ...]:
    """The statements whose value comes last: the numbers `prefix` takes."""
    return tuple(
        n for n, template in enumerate(_STATEMENTS[attribute]) if template.endswith(("{v}.", "{av}."))
    )


@cache
def asking_variants(kind: str, attribute: str) -> tuple[int, ...]:
    """The statements of `prefix_variants` whose opening asks a kind's entities for this attribute alone.

    "Axes are" may as well go on with what axes are made of, so it does not ask for their shape.
    """
    example = next(e for e in of_kind(kind) if e.form != "mass")
    others = [
        statement(example, other, accepted(example, other)[0], n)
        for other in attributes(example)
        if other != attribute
        for n in statement_variants(other)
    ]
    openings = {n: prefix(example, attribute, n) + " " for n in prefix_variants(attribute)}
    return tuple(n for n, opening in openings.items() if not any(text.startswith(opening) for text in others))


def statement(entity: Entity, attribute: str, value: str, variant: int = 0) -> str:
    """A sentence that says the value of the entity, true or not. Raises IndexError for an unknown variant."""
    return _fill(_STATEMENTS[attribute][variant], entity, value)


def prefix(entity: Entity, attribute: str, variant: int = 0) -> str:
    """The statement cut right before the value and its article, without a final space ("An owl is").

    Raises ValueError where the value does not come last; `prefix_variants` lists where it does.
    """
    template = _STATEMENTS[attribute][variant]
    head, slot, tail = template.rpartition("{av}" if "{av}" in template else "{v}")
    if not slot or tail != ".":
        raise ValueError(f"statement {variant} of {attribute} does not end with its value: {template}")
    return _fill(head, entity, "").rstrip()


def question(entity: Entity, attribute: str, variant: int = 0) -> str:
    """A question for the attribute: QUESTIONS_TRAIN to train on, then QUESTIONS_HELDOUT held out."""
    return _fill(_QUESTIONS[attribute][variant], entity, "")


def with_article(noun: str) -> str:
    """The noun after a or an ("an owl"), or after a counting word ("a piece of clothing")."""
    return _MEASURES.get(noun) or ("an " if noun[0] in "aeiou" else "a ") + noun


def one(entity: Entity) -> str:
    """One of them, or the name alone where it cannot be counted: an owl, rice, Paris."""
    return with_article(entity.name) if entity.form == "count" else entity.name


def capitalised(text: str) -> str:
    """The text with its first letter in upper case and the rest as it was."""
    return text[:1].upper() + text[1:]


def _fill(template: str, entity: Entity, value: str) -> str:
    verb = _VERB.sub(r"\1" if entity.form == "count" else r"\2", template)
    return verb.format(
        Es=capitalised(entity.plural),
        es=entity.plural,
        An=capitalised(one(entity)),
        an=one(entity),
        v=value,
        av=with_article(value) if value else "",
        kind=entity.kind,
    )
