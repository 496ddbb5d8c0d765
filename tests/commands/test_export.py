"""`dltrain export` prints what was checked and written, and reports mistakes with their exit codes."""

import shutil

import pytest

pytestmark = pytest.mark.usefixtures("quickly_compiled")


def test_a_run_is_exported_and_exported_again(digits_run, tmp_path, dltrain):
    folder = tmp_path / "with space"
    result = dltrain("export", str(digits_run.folder), f"output={folder}", cwd=tmp_path)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("checked   stablehlo on 256 examples of the run's test: largest difference ")
    assert lines[0].endswith(", decisions equal")
    assert "model.stablehlo" in result.out and "examples.npz holds these examples" in result.out
    assert f"dltrain export '{folder}' refresh=true" in " ".join(result.out.split())
    result = dltrain("export", str(folder), cwd=tmp_path)
    assert result.code == 2 and "is an export itself; refresh=true exports its model again" in result.err
    result = dltrain("export", str(folder), "refresh=true", "keep_examples=false", cwd=tmp_path)
    assert result.code == 0, result.err
    assert "256 examples of the export itself" in result.out and not (folder / "examples.npz").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "export: name one run folder"),
        (("nowhere",), 2, "nowhere: folder not found"),
        (("RUN", "format=tflite"), 2, "format"),
        (("RUN", "model=cnn"), 2, "the weights were trained with the first"),
        (("RUN", "output=taken"), 2, "taken: exists, and is not an export"),
        (("RUN", "examples=none.npz"), 3, "examples=none.npz: cannot be read as an .npz file"),
        (("RUN", "refresh=true"), 4, "signature.json cannot be read"),
    ],
)
def test_mistakes_are_reported(digits_run, tmp_path, dltrain, words, code, message):
    shutil.copytree(digits_run.folder, tmp_path / "RUN")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    result = dltrain("export", *words, cwd=tmp_path)
    assert result.code == code and message in result.err, result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["RUN", "taken"]
