"""TensorBoard's projector plugin finds the embeddings, and a name for each."""

from types import SimpleNamespace

import numpy as np
import pytest
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client

from dltrain.errors import DiskError
from dltrain.runs.projector import visible, write_embeddings

TOKENS = ("\n", " ", "a", "\t", "é", "two words", "", "'", "\x00", "\u2028")


@pytest.fixture
def ask(tmp_path):
    """Query the plugin over HTTP, serving a folder that TensorBoard knows as a run."""
    provider = SimpleNamespace(list_runs=lambda ctx, experiment_id: [SimpleNamespace(run_name=".")])
    apps = ProjectorPlugin(SimpleNamespace(data_provider=provider, logdir=str(tmp_path))).get_plugin_apps()

    def get(route, **query):
        answer = Client(apps[f"/{route}"]).get("/", query_string=query)
        assert answer.status_code == 200, answer.text
        return answer

    return get


def test_plugin_reads_every_vector_and_its_name(tmp_path, ask):
    drawn = np.random.default_rng(0)
    tables = {name: drawn.normal(size=(len(TOKENS), 3)).astype(np.float32) for name in ("embed", "encoder.embed")}
    tables["embed"][0] = 0, 1e-38, 3e38
    write_embeddings(tmp_path, tables, TOKENS)
    assert ask("runs").json == ["."]
    found = ask("info", run=".").json["embeddings"]
    assert [(e["tensorName"], e["tensorShape"]) for e in found] == [(name, [10, 3]) for name in tables]
    for name, table in tables.items():
        read = np.frombuffer(ask("tensor", run=".", name=name).data, np.float32)
        np.testing.assert_array_equal(read.reshape(table.shape), table)
        lines = ask("metadata", run=".", name=name).text.split("\n")
        assert lines.pop() == ""
        assert all(line.strip() and "\t" not in line for line in lines), "the page drops what is blank"
        assert lines == [visible(token) for token in TOKENS] and len(set(lines)) == len(TOKENS)


def test_invisible_tokens_are_quoted():
    named = ["'\\n'", "' '", "a", "'\\t'", "é", "two words", "''", "'", "'\\x00'", "'\\u2028'"]
    assert [visible(token) for token in TOKENS] == named


def test_unwritable_folder_is_a_disk_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match=r"cannot write .*file/tensorboard"):
        write_embeddings(tmp_path / "file" / "tensorboard", {}, ())
