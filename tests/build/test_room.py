"""A source is opened once to find its task and once to train; both see the same room for its data."""

from dltrain.build import data
from dltrain.devices import memory


def test_the_room_for_a_source_is_that_of_its_first_opening(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{i * 0.5}\n" for i in range(50)))
    node = {"_target_": "dltrain.data.sources.table.load_table", "path": str(tmp_path / "t.csv"), "target": "y"}
    own = {"validation": 0.1, "test": 0.2, "group": None, "time": None, "split_column": None, "timeout": 60}
    kinds = []
    for free in (1 << 30, 100, 1 << 30):  # a table of this size would be read in blocks with 100 bytes
        monkeypatch.setattr(memory, "host_room", lambda free=free: memory.Room(free, "of a test's"))
        kinds.append(type(data.open_source({**node, **own}, ())).__name__)
    assert kinds == ["TableSource"] * 3
    data._room_for.cache_clear()
    monkeypatch.setattr(memory, "host_room", lambda: memory.Room(100, "of a test's"))
    assert type(data.open_source({**node, **own}, ())).__name__ == "LargeTable"
    data._room_for.cache_clear()
