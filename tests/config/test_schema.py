"""The table of the engine's keys agrees with train.yaml, with types it cannot import, and with itself."""

import pytest

from dltrain.cli.help import defaults
from dltrain.config import folders as tree
from dltrain.config import schema
from dltrain.config.command_options import COMMANDS

BASE = defaults("train", tree.roots(None))


def test_train_yaml_sets_every_key_of_the_engine_and_no_other() -> None:
    tops = {key.split(".")[0] for key in schema.ENGINE}
    assert set(BASE) - set(schema.GROUPS) == tops
    assert set(BASE) & set(schema.GROUPS) == set(schema.GROUPS) - {"experiment", "recipe"}


@pytest.mark.parametrize("path", [p for p in schema.ENGINE])
def test_every_default_is_a_value_the_key_may_hold(path: str) -> None:
    value = BASE
    for part in path.split("."):
        value = value[part]
    schema.parse(path, schema.ENGINE[path], value)


def test_every_default_of_a_node_is_known_and_in_range() -> None:
    for group in set(BASE) & set(schema.GROUPS):
        for name, value in BASE[group].items():
            schema.parse(f"{group}.{name}", {**schema.node_keys(group), **schema.group_keys(group)}[name], value)


def test_options_of_commands_are_those_of_their_yaml() -> None:
    for command, keys in COMMANDS.items():
        if keys:
            assert set(defaults(command, tree.roots(None))) == set(keys)


def test_data_and_models_name_existing_tasks() -> None:
    found = tree.read_tree(tree.roots(None))
    for group in ("data", "model"):
        nodes = [tree.read_yaml(path) for path in found[group].values()]
        named = {node["task"] for node in nodes if "task" in node} | {
            t for node in nodes for t in node.get("tasks", [])
        }
        assert named and named <= set(found["task"])  # auto: the data is asked


def test_engine_keys_leave_out_what_the_target_gets() -> None:
    assert "learning_rate" not in schema.engine_keys("optim")
    own = {"weight_decay_schedule", "accumulate", "clip", "ema", "groups", "rules"}
    assert set(schema.engine_keys("optim")) == own
    assert schema.engine_keys("metrics") == ("better",)
    assert schema.engine_keys("model") == ("task", "tasks", "recipe", "scale", "output_activation")


@pytest.mark.parametrize(
    ("path", "value", "result"),
    [
        ("steps", 1e3, 1000),
        ("batch_size", "all", "all"),
        ("tags", "one", ["one"]),
        ("tags", [1, "b"], ["1", "b"]),
        ("name", 2024, "2024"),
        ("eval_every", "0.5ep", "0.5ep"),
        ("checkpoint_every", "auto", "auto"),
        ("limit_batches", None, None),
    ],
)
def test_values_are_brought_into_the_engines_form(path: str, value: object, result: object) -> None:
    found = schema.parse(path, schema.ENGINE[path], value)
    assert found == result and type(found) is type(result)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", True),
        ("seed", 2**32),
        ("steps", float("inf")),
        ("steps", "10"),
        ("quiet", 0),
        ("early_stopping.min_delta", float("nan")),
        ("name", ".."),
        ("name", "a\nb"),
        ("tags", [None]),
        ("log_every", 0),
    ],
)
def test_values_outside_are_refused_with_the_key_and_what_would_be_right(path: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"(?s)^{path}=.*: must be "):
        schema.parse(path, schema.ENGINE[path], value)


def test_rules_need_a_valid_expression_and_something_to_do() -> None:
    key = schema.NODES["optim"]["rules"]
    good = [{"match": "kernel$", "freeze": True}, {"match": "^hidden", "scale": 0.1}]
    assert schema.parse("optim.rules", key, good) == good
    for bad in ([{"match": "("}], [{"match": "x"}], [{"freeze": True}], [{"match": "x", "frez": True}], None):
        with pytest.raises(ValueError, match=r"optim\.rules="):
            schema.parse("optim.rules", key, bad)
