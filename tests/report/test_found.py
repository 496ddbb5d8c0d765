"""What `find-batch` prints of numbers of any size, and of a device that reports its peak."""

from dltrain.report.console import Screen
from dltrain.report.found import show_sizes
from dltrain.tuning.batches import BatchSizes, Measured


def test_the_peak_of_a_device_is_a_column_where_it_is_known(capsys):
    found = (Measured(8, 0.123, 0.984, 2**20), Measured(1024, 12345.6, 12641894.4, 3 * 2**30))
    show_sizes(BatchSizes(found, "why"), Screen())
    out = capsys.readouterr().out
    assert "peak" not in out and "ended   why" in out
    assert [line.split() for line in out.splitlines()[2:4]] == [
        ["8", "0.123", "0.984", "1.0", "MiB"],
        ["1,024", "12,346", "12,641,894", "3.0", "GiB"],
    ]
    show_sizes(BatchSizes((Measured(8, 1, 8, 2**20, peak=2**21),), "why"), Screen())
    assert "peak so far" in (out := capsys.readouterr().out) and "2.0 MiB" in out


def test_without_a_size_only_the_reason_is_printed(capsys):
    show_sizes(BatchSizes((), "a batch of 8 does not fit"), Screen())
    assert capsys.readouterr().out == "ended   a batch of 8 does not fit\n"
