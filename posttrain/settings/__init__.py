"""``name=value`` on the command line, or the same in a YAML file, becomes a checked expression of stages.

A name is a parameter of the recipe (``seed``), or an address: a stage (``sft``, ``rl[2]``) and the fields
below it (``rl.method.clip_range``). A stage's value is a finished product's directory; a field that holds an
object takes the name of a file in that object's folder, or of a class beside it.
"""

from posttrain.settings.expression import expression, parameters, with_overrides, with_settings
from posttrain.settings.written import from_yaml, parse

__all__ = ["expression", "from_yaml", "parameters", "parse", "with_overrides", "with_settings"]
