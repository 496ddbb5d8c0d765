"""A task that lacks a required method is refused when it is built, not during the run."""

import pytest

from dltrain.build.instantiate import build
from dltrain.errors import ConfigError
from dltrain.tasks.task import Task


class Undecided(Task):
    def outputs(self, spec) -> int:
        return 1


def test_a_task_without_decide_is_refused_by_its_key():
    node = {"_target_": f"{__name__}.Undecided"}
    with pytest.raises(ConfigError, match=r"task: .*Undecided.*decide"):
        build(node, path="task", trust=(__name__.partition(".")[0],))
