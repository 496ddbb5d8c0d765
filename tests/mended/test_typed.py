"""What is typed: text is kept as it is, numbers have limits, names of other tools are understood."""

import json
from pathlib import Path

import pytest
from few import few

from dltrain.config import hints, schema, synonyms
from dltrain.config.command_options import COMMANDS
from dltrain.config.folders import packaged, read_tree, read_yaml

pytestmark = pytest.mark.usefixtures("quickly_compiled")

D = ("data=digits", "model=linear", "quiet=true")

TEXTS = {
    "name=1.10": ("name", "1.10"),
    "name=2024_01_05": ("name", "2024_01_05"),
    "name=1e3": ("name", "1e3"),
    "name=007": ("name", "007"),
    "name=true": ("name", "true"),
    "name=nan": ("name", "nan"),
    "name=null": ("name", None),
    "name='null'": ("name", "null"),
    "output_dir=1.10": ("output_dir", "1.10"),
    "output_dir=runs/1e3": ("output_dir", "runs/1e3"),
    "tags=1.10": ("tags", "1.10"),
    "tags=choice": ("tags", "choice"),
    "tags=[1.10,2024_01_05,a,'b, c']": ("tags", ["1.10", "2024_01_05", "a", "b, c"]),
    "tags=[1.10,true,x]": ("tags", ["1.10", "true", "x"]),
    "init_from=1_0": ("init_from", "1_0"),
    "name=${seed}": ("name", "0"),
}


@pytest.mark.parametrize("word", TEXTS)
def test_text_is_kept_as_typed(dltrain, word: str, tmp_path: Path) -> None:
    import yaml

    said = dltrain("--cfg", "job", word, cwd=tmp_path)
    assert said.code == 0, said.err
    key, value = TEXTS[word]
    assert str(yaml.safe_load(said.out)[key]) == str(value)


@pytest.mark.parametrize("word", ["name=", "tags=", "output_dir="])
def test_an_empty_text_is_refused_with_its_key(dltrain, word: str, tmp_path: Path) -> None:
    said = dltrain(*D, word, cwd=tmp_path)
    assert said.code == 2 and said.err.startswith(f"dltrain: {word}"), said.err
    assert not list(tmp_path.iterdir())


def test_text_in_a_file_is_kept_as_written(dltrain, tmp_path: Path) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    text = "# @package _global_\nname: 1.10\ntags: [2024_01_05, 1e3, yes]\n"
    (tmp_path / "conf" / "experiment" / "2024_01_05.yaml").write_text(text)
    said = dltrain("--cfg", "job", "-cd", "conf", "experiment=2024_01_05", cwd=tmp_path)
    assert said.code == 0, said.err
    for line in ("name: '1.10'", "- '2024_01_05'", "- '1e3'", "- 'yes'"):
        assert line in said.out, said.out


def test_text_for_an_argument_of_a_part_is_kept_as_typed(dltrain, tmp_path: Path) -> None:
    said = dltrain("data=pairs", "data.path=1.10", "model=seq2seq", cwd=tmp_path)
    assert said.code == 3 and "1.10" in said.err, said.err


@pytest.mark.slow
def test_text_is_kept_in_a_sweep_and_when_a_run_is_resumed(dltrain, tmp_path: Path, without_figures) -> None:
    (tmp_path / "1.1").mkdir()
    (tmp_path / "1.1" / "thesis.tex").write_text("mine")
    said = dltrain("-m", *D, "steps=1", "name=1.10,2e1", "output_dir=1.10", "overwrite=true", cwd=tmp_path)
    assert said.code == 0, said.err
    names = [read_yaml(tmp_path / "1.10" / n / "config.yaml")["name"] for n in "01"]
    assert names == ["1.10", "2e1"]
    assert (tmp_path / "1.1" / "thesis.tex").exists()
    assert dltrain("resume", "1.10/0", "steps=2", "name=3.10", "tags=[4.10]", cwd=tmp_path).code == 0
    saved = read_yaml(tmp_path / "1.10" / "0" / "config.yaml")
    assert (saved["name"], saved["tags"]) == ("3.10", ["4.10"])


ODD = {
    "steps=1e30": "steps=1e+30: must be at most 2,147,483,647",
    "epochs=1000000000": "epochs=1000000000: comes to",
    "batch_size=-1e30": "batch_size=-1e+30: must be",
    "seed=1e30": "seed=1e+30: must be",
    f"seed={'9' * 5000}": "seed=",
    "optim.accumulate=1000000000": "optim.accumulate=1000000000: a batch of 64 examples is not divisible",
    "optim.accumulate=1000000000000": "optim.accumulate=1000000000000: must be at most",
    f"model=mlp model.widths=[{','.join(['8'] * 3000)}]": "model.widths: 3,000 layers would take hours to compile",
    "data=reverse model=seq2seq_transformer model.layers=100000": "model.layers: 100,000 layers would take hours",
    "batch_size=2147483647": "batch_size=2147483647: there are 1,294 training examples",
    "runtime.threads=1000000": "runtime.threads=1000000: must be",
    "data=digit_masks model=unet data.digits=100": "data.digits=100: must be keys with _target_",
    "optim.rules=[{match:'" + "(" * 500 + "a" + ")" * 500 + "',freeze:true}]": "optim.rules=",
    "optim.rules.0.scale=1": "optim.rules.0.scale=1: the list has no such item; give the whole list: optim.rules=",
    "monitor=validation/confusion metrics.confusion.better=higher": "monitor=validation/confusion: is not a single",
    "sweep.objectives=[validation/confusion]": "sweep.objectives: validation/confusion: is not a single number",
}


@few("line", ODD, [line for line in ODD if len(line) < 5000], ids=lambda line: line[:40])
def test_an_odd_value_is_refused_with_its_key(dltrain, line: str, tmp_path: Path) -> None:
    said = dltrain(*D, *line.split(), "dry_run=true", cwd=tmp_path)
    assert said.code == 2, said.err
    assert ODD[line] in said.err and "Traceback" not in said.err, said.err


def test_a_model_that_no_memory_holds_is_refused_before_it_is_built(dltrain, tmp_path: Path) -> None:
    said = dltrain("model=mlp", "model.widths=[1000000000000]", "quiet=true", cwd=tmp_path)
    assert said.code == 8 and "model" in said.err, said.err


FILES = {
    "# @author\n_target_: dltrain.models.linear.Linear\n": "line 1: # @author: Hydra reads",
    "\n# @author Jane Doe\n_target_: dltrain.models.linear.Linear\n": "line 2: # @author Jane Doe: Hydra reads",
    "# @package\t_global_\n_target_: dltrain.models.linear.Linear\n": "Hydra reads",
    "defaults: [mine]\n": "mine",
    "defaults: [other, _self_]\n": "mine",
}


@pytest.mark.parametrize("text", FILES)
def test_an_odd_file_of_the_users_is_refused_by_name(dltrain, text: str, tmp_path: Path) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text(text)
    (tmp_path / "conf" / "model" / "other.yaml").write_text("defaults: [mine]\n")
    said = dltrain("-cd", "conf", "model=mine", "dry_run=true", cwd=tmp_path)
    assert said.code == 2 and FILES[text] in said.err and "mine.yaml" in said.err, said.err


HINTS = {
    "model=mlp model.activation=swish": "did you mean silu?",
    "data=table data.path=t.csv data.target=y epoch=3": "did you mean epochs",
    "model=mlp model.layers=3": "did you mean model.widths (now [128, 128])?",
    "model=cnn model.filters=32": "did you mean model.channels (now [32, 64])?",
    "model=mlp model.kernel_init=xavier": "did you mean glorot_uniform?",
    "model=mlp model.norm=batchnorm": "did you mean batch?",
    "model=dense": "did you mean mlp?",
    "loss=bce": "did you mean binary_cross_entropy?",
    "loss=CrossEntropyLoss": "did you mean cross_entropy?",
    "metrics=[acc]": "did you mean accuracy?",
    "schedule=CosineAnnealingLR": "did you mean cosine?",
    "augment=RandomHorizontalFlip": "did you mean flip_horizontal?",
    "optim.beta_1=0.9": "did you mean optim.b1 (now 0.9)?",
    "model=transformer model.num_heads=2": "did you mean model.heads",
    "runtime=cuda": "did you mean gpu?",
    "data=csv": "data=csv: no such data set; data=table data.path=FILE data.target=COLUMN reads a table",
    "data=png": "data=images data.path=FOLDER reads a folder with a folder of images for each class",
    "data=houses.csv": "data=table data.path=houses.csv data.target=COLUMN reads a table",
    "houses.csv": "not a command; data=table data.path=houses.csv data.target=COLUMN reads a table",
    "data.path=my.csv": "data=digits takes no file; data=table data.path=my.csv data.target=COLUMN reads a table",
}


@pytest.mark.parametrize("line", HINTS)
def test_a_name_from_elsewhere_leads_to_ours(dltrain, line: str, tmp_path: Path) -> None:
    said = dltrain(*line.split(), cwd=tmp_path)
    assert said.code == 2 and HINTS[line] in said.err, said.err


@pytest.mark.parametrize(("word", "not_meant"), [("data=xlsx", "diabetes"), ("model=zzz", "did you mean")])
def test_what_is_not_close_is_not_meant(dltrain, word: str, not_meant: str, tmp_path: Path) -> None:
    assert not_meant not in dltrain(word, cwd=tmp_path).err.replace("choices: ", "").split("(")[0]


def test_every_name_in_the_tables_leads_to_something_and_is_none_itself() -> None:
    tree = read_tree((packaged(),))
    files = [read_yaml(path) for choices in tree.values() for path in choices.values()]
    arguments = {key for node in (*files, *COMMANDS.values()) for key in node}
    for theirs, ours in synonyms.KEYS.items():
        assert theirs not in schema.ENGINE and theirs not in schema.GROUPS, theirs
        for key in ours:
            last = key.rpartition(".")[2]
            known = key in schema.ENGINE or key in schema.GROUPS or schema.find_key(key) or last in arguments
            assert known, f"{theirs} -> {key}"
    for group, names in synonyms.CHOICES.items():
        for theirs, ours in names.items():
            assert theirs not in tree[group] and set(ours) <= set(tree[group]), f"{group}={theirs} -> {ours}"
    assert hints.is_file("a/b.csv") and not hints.is_file("mlp.yaml") and not hints.is_file("mlp")


def test_a_data_set_too_small_to_split_says_which_key_to_type(dltrain, tmp_path: Path) -> None:
    said = dltrain("data=inline", "model=linear", "steps=1", "quiet=true", cwd=tmp_path)
    assert said.code == 3 and "or data.validation=0 for no validation split" in said.err, said.err


@pytest.mark.slow
def test_a_warm_up_longer_than_the_run_is_said_and_is_held_when_the_run_is_resumed(
    dltrain, tmp_path: Path, without_figures
) -> None:
    said = dltrain(*D, "steps=5", "schedule.warmup_steps=50", "log_every=1", "output_dir=run", cwd=tmp_path)
    assert "schedule.warmup_steps=50: is longer than the run of 5 steps" in said.err
    assert dltrain("resume", "run", "steps=9", cwd=tmp_path).code == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    rates = {row["step"]: row["learning_rate"] for row in rows if row["split"] == "train"}
    assert rates[9] == pytest.approx(rates[5]) and rates[5] == pytest.approx(1e-3 * 5 / 50)


@pytest.mark.slow
def test_a_run_that_is_resumed_at_rate_zero_is_warned_about(dltrain, tmp_path: Path, without_figures) -> None:
    assert dltrain(*D, "steps=2", "schedule=linear", "output_dir=run", cwd=tmp_path).err == ""
    said = dltrain("resume", "run", "steps=4", cwd=tmp_path)
    assert "the schedule has reached a learning rate of 0 at step 2" in said.err
    assert said.code == 0
