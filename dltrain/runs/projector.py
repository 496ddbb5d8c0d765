"""Token embeddings for the projector of TensorBoard: tables as text, next to the event files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dltrain.runs.files import Files, files_at

CONFIG, TOKENS = "projector_config.pbtxt", "tokens.tsv"  # the plugin looks for the first by name


def write_embeddings(folder: Path | Files, tables: Mapping[str, np.ndarray], tokens: Sequence[str]) -> None:
    """Write each table, name -> float [V, E], the tokens of its rows, and last the config that refers to them.

    Tables are text, since the plugin first tries to read them as text, and fails at bytes that happen to be text.
    """
    files = files_at(folder)
    files.replace_text(TOKENS, "".join(f"{visible(token)}\n" for token in tokens))
    entries = []
    for name, table in tables.items():
        lines = ("\t".join(f"{value:.9g}" for value in row) for row in np.asarray(table, np.float32).tolist())
        files.replace_text(f"{name}.tsv", "".join(f"{line}\n" for line in lines))
        fields = {"tensor_name": name, "tensor_path": f"{name}.tsv", "metadata_path": TOKENS}
        entries += ["embeddings {\n", *(f'  {field}: "{value}"\n' for field, value in fields.items()), "}\n"]
    files.replace_text(CONFIG, "".join(entries))


def visible(token: str) -> str:
    r"""Return a token as one visible line: `' '` and `'\n'` in quotes, others unchanged.

    The projector skips blank lines, so that all tokens after one would have the wrong name.
    """
    return token if token and token.isprintable() and token == token.strip() else repr(token)
