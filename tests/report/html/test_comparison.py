"""The page of a comparison: groups, intervals, differences and curves, self-contained and escaped."""

import json

from written_runs import CONFIG, HOSTILE, Page, write_run

from dltrain.inference.card import number
from dltrain.report.comparison import compare
from dltrain.report.html.comparison import comparison_page, terminal_table
from dltrain.report.seeds import spread

WIDE = {"model": {**CONFIG["model"], "widths": [8], "note": HOSTILE}}
LOW, HIGH = [0.70, 0.72, 0.74], [0.90, 0.91, 0.92]


def comparison(tmp_path, **options):
    paths = [write_run(tmp_path / f"n{i}", v, seed=i).path for i, v in enumerate(LOW)]
    paths += [write_run(tmp_path / f"w{i}", v, seed=i, config=WIDE, **options).path for i, v in enumerate(HIGH)]
    return compare(paths)


def cell(values) -> str:
    found = spread(values)
    low, high = found.interval
    return f"{number(found.mean)} ± {number(found.deviation)} [{number(low)}, {number(high)}]"


def test_the_tables_have_means_deviations_and_intervals_of_each_group(tmp_path):
    found = comparison(tmp_path)
    page = Page(comparison_page(found))
    rows = {row[0]: row for row in page.rows()}
    assert rows["A: n0, n1, n2"][1:3] == ["3", "[4]"] and cell(LOW) in rows["A: n0, n1, n2"]
    assert cell(HIGH) in rows["B: w0, w1, w2"]
    assert ["model.widths", "[4]", "[8]"] in page.rows() and ["model.note", "not set", HOSTILE] in page.rows()
    assert ["B: w1", "1", "3", "all steps done", "1.5", "0.9100", "0.5000"] in page.rows()
    columns, cells = terminal_table(found)
    assert [column.title for column in columns][-2:] == ["test/accuracy", "test/loss"]
    assert [row[-2] for row in cells] == [cell(LOW), cell(HIGH)]


def test_the_verdict_and_the_overlaid_curves_are_on_the_page(tmp_path):
    found = comparison(tmp_path)
    page = Page(comparison_page(found))
    assert page.texts("li") == found.verdicts()
    charts = [json.loads(t) for t in page.texts("script") if t.startswith("{")]
    assert [c["title"] for c in charts] == [
        *("loss on train by step", "loss on validation by step"),
        *("accuracy on train by step", "accuracy on validation by step"),
    ]
    names = [line["name"] for line in charts[0]["lines"]]
    assert names == ["A: n0", "A: n1", "A: n2", "B: w0", "B: w1", "B: w2"]
    colours = [line["colour"] for line in charts[0]["lines"]]
    assert len(set(colours[:3])) == len(set(colours[3:])) == 1 and colours[0] != colours[3]


def test_other_data_is_warned_about_in_the_page_and_marked_in_both_tables(tmp_path):
    found = comparison(tmp_path, fingerprint="other")
    page = Page(comparison_page(found))
    assert any("cannot be compared" in text for text in page.texts("p"))
    (row,) = [row for row in page.rows() if row[0].startswith("B: w0, ")]
    assert all(value.endswith("(other data)") for value in row[-2:])
    assert terminal_table(found)[1][1][-1].endswith("(other data)")


def test_names_are_escaped(tmp_path):
    text = comparison_page(comparison(tmp_path))
    assert "<script>alert" not in text and [a for a in Page(text).attributes("script") if not a] == [{}]


def test_commands_for_more_seeds_are_offered_where_there_is_one(tmp_path):
    paths = [write_run(tmp_path / "a", 0.7).path, write_run(tmp_path / "b", 0.8, config=WIDE).path]
    page = Page(comparison_page(compare(paths)))
    assert "dltrain -m data=tiny model=mlp seed=1,2,3,4\n" * 2 == page.texts("pre")[0] + "\n"
