"""Words of a text."""

from posttrain.field_guide import wording


def test_a_list_of_words_is_its_caller_s_to_change() -> None:
    first = wording.words("Foxes sleep in dens.")
    first.append("x")
    assert wording.words("Foxes sleep in dens.") == ["foxes", "sleep", "in", "dens"]
