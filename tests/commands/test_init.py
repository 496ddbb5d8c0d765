"""`dltrain init`: a commented YAML that trains unchanged, and is never overwritten."""

import numpy as np
import pytest
import yaml

from dltrain.data.tables.guess import guess_target


@pytest.fixture
def houses(tmp_path):
    rng = np.random.default_rng(0)
    size, city = rng.normal(100, 20, 120).round(1), rng.choice(["Bern", "Basel"], 120)
    lines = [f"{s},{c},{3000 * s:.0f}" for s, c in zip(size, city, strict=True)]
    (tmp_path / "houses.csv").write_text("\n".join(["size,city,price", *lines]) + "\n")
    return tmp_path


@pytest.mark.slow
def test_the_file_trains_unchanged_and_gives_what_the_words_give(dltrain, houses):
    words = ("data=table", "data.path=houses.csv")
    found = dltrain("init", *words, "model=linear", "epochs=2", "data.validation=0.2", cwd=houses)
    assert found.code == 0, found.err
    assert "target  price (the last column)" in found.out
    assert "next    dltrain --config-dir conf experiment=houses" in found.out
    path = houses / "conf" / "experiment" / "houses.yaml"
    read = yaml.safe_load(path.read_text())
    assert read["data"] == {"path": "houses.csv", "target": "price", "validation": 0.2}
    assert {"override /data": "table"} in read["defaults"] and {"override /model": "linear"} in read["defaults"]
    assert read["epochs"] == 2
    ends = ("quiet=true", "overwrite=true")
    given = dltrain("--config-dir", "conf", "experiment=houses", "output_dir=one", *ends, cwd=houses)
    assert given.code == 0, given.err
    typed = ("data.target=price", "model=linear", "epochs=2", "data.validation=0.2", "output_dir=two", *ends)
    assert dltrain(*words, *typed, cwd=houses).code == 0
    one, two = (dltrain("hash", name, cwd=houses).out for name in ("one", "two"))
    assert one == two and len(one) > 64


def test_every_choice_is_a_comment(dltrain, houses):
    found = dltrain("init", "data=table", "data.path=houses.csv", "output=my/experiment/first.yaml", cwd=houses)
    assert found.code == 0, found.err
    text = (houses / "my" / "experiment" / "first.yaml").read_text()
    for part in (
        "# houses.csv: predict price (regression)",
        "# recipe: table",
        "# split: auto",
        "# city",
        "price is a",
    ):
        assert part in text, text


def test_an_existing_file_is_kept(dltrain, houses):
    words = ("init", "data=table", "data.path=houses.csv")
    path = houses / "conf" / "experiment" / "houses.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# mine\n")
    found = dltrain(*words, cwd=houses)
    assert found.code == 2 and "exists, and is not overwritten" in found.err
    assert path.read_text() == "# mine\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name the data: data=table"),
        (("data=table", "data.path=houses.csv", "output=x.yaml"), "must be a YAML in a folder named experiment"),
        (("somewhere", "data=table"), "somewhere: name the data by its keys"),
        (("data=table", "data.path=nowhere.csv"), "nowhere.csv"),
    ],
)
def test_what_cannot_be_written_is_refused(dltrain, houses, words, message):
    found = dltrain("init", *words, cwd=houses)
    assert found.code in (2, 3) and message in found.err


@pytest.mark.parametrize(
    ("names", "expected"), [(["a", "Label", "z"], "Label"), (["y", "target"], "target"), (["a", "b"], "b")]
)
def test_the_target_is_guessed(names, expected):
    assert guess_target(names)[0] == expected
