"""SAM and schedule-free AdamW against their formulas over ten steps."""

import numpy as np
import pytest
from optimizer_formulas import (
    RATES,
    VALLEY_START,
    ahead,
    expected_path,
    from_yaml,
    path_of,
    schedule_free,
    slope,
    velocity,
)


@pytest.mark.parametrize("nesterov", [False, True])
def test_ten_steps_of_sam_use_the_gradient_at_the_ascent_point(looked, nesterov):
    def uphill(_, t, memory, rate):
        g = slope(memory["w"])
        g = slope(memory["w"] + 0.3 * g / np.linalg.norm(g))
        return rate * (ahead if nesterov else velocity)(memory, g)

    found = looked["sam, nesterov" if nesterov else "sam"][1:]
    np.testing.assert_allclose(found, expected_path(uphill, rates=RATES / 30, start=VALLEY_START), rtol=1e-9)


def test_ten_steps_of_schedule_free_follow_the_formula():
    found = path_of(lambda **more: from_yaml("schedule_free")(**more))
    np.testing.assert_allclose(found, expected_path(schedule_free), rtol=1e-9)
