"""List what there is to choose, one line each: dltrain list [GROUP].

The lines are the first comments of the YAML files, those of --config-dir included.
"""

from dltrain.config.call import Call
from dltrain.config.help import choices_table
from dltrain.config.hints import nearest
from dltrain.config.schema import GROUPS
from dltrain.config.tree import read_tree
from dltrain.errors import ConfigError


def run(call: Call) -> int:
    """Print the choices of the groups named, of all groups if none is."""
    tree = read_tree(call.folders)
    if call.overrides:
        raise ConfigError(f"{call.overrides[0]}: dltrain list takes the names of groups: dltrain list model")
    for group in call.words:
        if group not in tree:
            raise ConfigError(f"{group}: no such group{nearest(group, tree)} (groups: {', '.join(tree)})")
    for i, group in enumerate(call.words or tree):
        if len(call.words) != 1:
            print(f"{chr(10) if i else ''}{group}: {GROUPS.get(group, 'a group of yours')}")
        print("\n".join(choices_table(tree, group)))
    return 0
