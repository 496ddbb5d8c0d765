"""Garbage is not collected while a command starts, and again once it trains."""

import gc

import pytest

from dltrain.startup import pause_collection, resume_collection


@pytest.fixture(autouse=True)
def _as_before():
    yield
    resume_collection()
    gc.unfreeze()
    gc.enable()


def test_collection_is_paused_and_resumed_without_what_exists():
    pause_collection()
    assert not gc.isenabled()
    resume_collection()
    assert gc.isenabled() and gc.get_freeze_count() > 1000


def test_a_program_that_uses_the_library_keeps_its_own_setting():
    gc.disable()
    resume_collection()
    assert not gc.isenabled() and not gc.get_freeze_count()


def test_training_collects_garbage(dltrain, tmp_path):
    pause_collection()
    result = dltrain("model=linear", "steps=1", "quiet=true", f"output_dir={tmp_path / 'run'}", figures=False)
    assert result.code == 0 and gc.isenabled()
