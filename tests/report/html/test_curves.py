"""Values for the script: JSON in which nothing can end the element or begin a comment."""

import json

import pytest
from written_runs import HOSTILE

from dltrain.report.html.curves import data


def test_embedded_values_come_back_and_hold_no_sign_of_html():
    value = {"name": HOSTILE, "more": "<!--\u2028 ]]>", "x": [1, 2.5]}
    text = data(value).removeprefix('<script type="application/json">').removesuffix("</script>")
    assert json.loads(text) == value and not set(text) & set("<>&\u2028\u2029")


def test_values_that_json_does_not_have_are_refused():
    with pytest.raises(ValueError):
        data([float("nan")])
