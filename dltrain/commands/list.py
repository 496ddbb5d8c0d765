"""List what there is to choose, one line each: dltrain list [GROUP].

The lines are the first comments of the YAML files, those of --config-dir included; of activations and initializers,
which are chosen by name, the first lines of their docstrings.
"""

from dltrain.config.call import Call
from dltrain.config.catalogue import catalogue, table
from dltrain.config.folders import read_tree
from dltrain.config.hints import nearest
from dltrain.errors import ConfigError


def run(call: Call) -> int:
    """Print the choices of the groups named, of all groups if none is."""
    sections = catalogue(read_tree(call.folders))
    if call.overrides:
        raise ConfigError(f"{call.overrides[0]}: dltrain list takes the names of groups: dltrain list model")
    for group in call.words:
        if group not in sections:
            raise ConfigError(f"{group}: no such group{nearest(group, sections)} (groups: {', '.join(sections)})")
    for i, group in enumerate(call.words or sections):
        if len(call.words) != 1:
            print(f"{chr(10) if i else ''}{group}: {sections[group].what}")
        print("\n".join(table(sections[group].lines.items())))
    return 0
