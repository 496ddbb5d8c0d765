"""Automatic checkpoints come as often as they may cost, chosen ones always."""

from types import SimpleNamespace

import pytest

from dltrain import training
from dltrain.training import Saver


@pytest.mark.parametrize(("share", "saved"), [(None, [1, 2, 3, 4]), (0.05, [1, 4])])
def test_automatic_saves_take_at_most_their_share_of_the_time(monkeypatch, tmp_path, share, saved):
    clock = [0.0]
    found = []
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def save(self, step, state):
        found.append(step)
        self.took, self.ended = 0.5, clock[0]

    monkeypatch.setattr(Saver, "save", save)
    saver = Saver(tmp_path, None, {}, share=share)
    for step, now in ((1, 1.0), (2, 2.0), (3, 10.9), (4, 11.0)):  # 0.5 s a save: one in ten seconds
        clock[0] = now
        saver(SimpleNamespace(step=step, state=None))
    assert found == saved
