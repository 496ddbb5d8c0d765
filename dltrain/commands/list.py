"""List the choices of each group, one per line: dltrain list [GROUP].

The descriptions are the first comments of the YAML files, including those of --config-dir; for activations and
initializers, which are chosen by name, the first lines of their docstrings.
"""

from dltrain.config.call import Call
from dltrain.config.catalogue import catalogue, table
from dltrain.config.folders import read_tree
from dltrain.config.hints import nearest
from dltrain.errors import ConfigError
from dltrain.report.width import for_terminal


def run(call: Call) -> int:
    """Print the choices of the given groups, or of all groups."""
    sections = catalogue(read_tree(call.folders))
    if call.overrides:
        raise ConfigError(f"{call.overrides[0]}: dltrain list takes the names of groups: dltrain list model")
    for group in call.words:
        if group not in sections:
            raise ConfigError(f"{group}: no such group{nearest(group, sections)} (groups: {', '.join(sections)})")
    for i, group in enumerate(call.words or sections):
        if len(call.words) != 1:
            print(for_terminal(f"{chr(10) if i else ''}{group}: {sections[group].what}"))
        print(for_terminal("\n".join(table(sections[group].lines.items()))))
    return 0
