"""A folder of images from the command line: `evaluate` gives the run's metrics, in memory and streamed alike."""

import json

import pytest
from tiny_images import write

WORDS = (
    "data=images",
    "data.path=photos",
    "data.size=8",
    "recipe=none",
    "model=linear",
    "epochs=2",
    "batch_size=8",
)

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    write(root / "photos", **{f"{c}__{i}": 40 * n + i for n, c in enumerate("ab") for i in range(30)})
    return root


@pytest.mark.slow
def test_evaluate_gives_the_metrics_of_the_run_and_both_feeds_the_same_bits(dltrain, folder):
    found = []
    for feed in ("resident", "streamed"):
        result = dltrain(*WORDS, f"data.feed={feed}", f"output_dir={feed}", cwd=folder)
        assert result.code == 0, result.err
        summary = json.loads((folder / feed / "summary.json").read_text())
        evaluated = dltrain("evaluate", feed, "checkpoint=last", "split=test", cwd=folder)
        assert evaluated.code == 0, evaluated.err
        for name in ("loss", "accuracy"):
            assert f"{name} {summary['test'][name]:.4f}" in " ".join(evaluated.out.split())
        found.append((summary["test"], summary["validation"], summary["hash"]))
    assert found[0] == found[1]


def test_a_damaged_image_ends_the_command_with_3_and_its_name(dltrain, folder):
    write(folder / "broken", a__1=0, b__1=1)
    (folder / "broken/a/2.png").write_bytes(b"no image")
    result = dltrain("data=images", "data.path=broken", "data.size=8", cwd=folder)
    assert result.code == 3
    assert f"{folder}/broken/a/2.png: is not a JPEG" in result.err
