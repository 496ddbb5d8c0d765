"""Tensor parallelism: which axis of a parameter the devices along `model` divide, by the name of the parameter.

The rules follow Shoeybi et al. 2019: layers whose inputs are whole divide their outputs (columns), and the layer
that joins them again divides its inputs (rows), so that a block needs one sum. XLA inserts what a rule leaves out:
rules decide on speed and memory, never on results.
"""

import re

RULES = (
    (r"(query|key|value)\.kernel$", 3, 1),  # [inputs, heads, depth]: heads
    (r"\bout\.kernel$", 3, 0),  # [heads, depth, outputs]: heads
    (r"(qkv|query|keys?|values?|keys_values|fc1|up|gate|expand|feed_in)\.kernel$", 2, 1),
    (r"(out|output|proj|project|fc2|down|contract|feed_out)\.kernel$", 2, 0),
    (r"embedding$", 2, 1),  # [vocabulary, width]: a lookup needs no sum
    (r"kernel$", 2, 1),  # dense [inputs, outputs]
    (r"kernel$", 3, 2),  # convolution [L, inputs, outputs]
    (r"kernel$", 4, 3),  # convolution [H, W, inputs, outputs]
    (r"kernel$", 5, 4),
)
"""Pattern of the end of a name, number of axes, and the axis that is divided; the first that matches decides."""


def axis_of(name: str, shape: tuple[int, ...]) -> int | None:
    """Return the axis of a parameter, or of its moment in the optimizer's state; None for a copy on each device."""
    for pattern, axes, divided in RULES:
        if len(shape) == axes and re.search(pattern, name):
            return divided
    return None
