"""Hand-written traces of a GPU and a CPU: how long each operation ran, and when the device was idle."""

import pytest
from jax.profiler import ProfileData

from dltrain.profiling.trace import read_trace

STATS = {"hlo_op": 1, "hlo_module": 2}


def plane(name, **lines):
    """Write a plane; each line has events (name, start µs, end µs, program or None).

    An event of a program stores its name as `hlo_op`, too.
    """
    names = sorted({event[0] for events in lines.values() for event in events})
    text = f'planes {{ name: "{name}" '
    text += "".join(f'stat_metadata {{ key: {n} value {{ id: {n} name: "{s}" }} }} ' for s, n in STATS.items())
    for number, named in enumerate(names, 1):
        text += f'event_metadata {{ key: {number} value {{ id: {number} name: "{named}" }} }} '
    for line, events in lines.items():
        text += f'lines {{ name: "{line.replace("_", " ")}" timestamp_ns: 5000 '
        for event, start, end, program in events:
            text += f"events {{ metadata_id: {names.index(event) + 1} "
            text += f"offset_ps: {start * 10**6} duration_ps: {(end - start) * 10**6} "
            if program:
                text += f'stats {{ metadata_id: 1 str_value: "{event.split("/")[0]}" }} '
                text += f'stats {{ metadata_id: 2 str_value: "{program}" }} '
            text += "} "
        text += "} "
    return text + "} "


@pytest.fixture
def read(tmp_path):
    def read(*planes):
        path = tmp_path / "t.xplane.pb"
        path.write_bytes(ProfileData.text_proto_to_serialized_xspace("".join(planes)))
        return read_trace(path, program="jit_chunk")

    return read


def found(trace):
    return {o.name: (round(o.seconds * 1e6, 3), o.count) for o in trace.operations}


def test_only_the_streams_of_a_gpu_are_read(read):
    kernels = [
        ("dot.1/gemm", 0, 40, "jit_chunk"),
        ("add.2", 40, 50, "jit_chunk"),
        ("dot.1/gemm", 80, 120, "jit_chunk"),
    ]
    trace = read(
        plane("/host:CPU", python=[("dot.1", 0, 900, "jit_chunk")]),
        plane(
            "/device:GPU:0",
            **{"Stream_#13": kernels, "Stream_#14": [("MemcpyH2D", 45, 60, None)]},
            XLA_Ops=kernels,
            XLA_Modules=[("jit_chunk", 0, 120, "jit_chunk")],
            Steps=[("1", 0, 120, None)],
        ),
    )
    assert found(trace) == {"dot.1": (80, 2), "MemcpyH2D": (15, 1), "add.2": (10, 1)}
    assert [o.name for o in trace.operations] == ["dot.1", "MemcpyH2D", "add.2"]
    assert trace.operations[1].instruction.kind == "copy and transpose"
    assert trace.seconds == pytest.approx(120e-6)
    assert trace.busy == pytest.approx(100e-6)  # 0 to 60 and 80 to 120


def test_on_a_cpu_only_named_instructions_count_without_nested_time(read):
    trace = read(
        plane(
            "/host:CPU",
            python=[("$loop.py:1 run", 0, 200, None), ("PjitFunction(chunk)", 0, 90, None)],
            pool_1=[
                ("while.1", 10, 110, "jit_chunk"),
                ("cond.2", 20, 60, "jit_chunk"),
                ("ThunkExecutor::Execute", 25, 55, None),
                ("dot.3", 30, 50, "jit_chunk"),
                ("end: dot.3", 50, 51, None),
                ("dot.3", 60, 90, "jit_chunk"),
            ],
            pool_2=[("add.4", 100, 130, "jit_chunk"), ("dot.9", 180, 190, "jit_run")],
            pool_3=[("copy.5", 150, 170, "jit_chunk"), ("dot.8", 0, 5, "jit_run"), ("dot.9", 135, 145, "jit_run")],
        )
    )
    assert found(trace) == {"dot.3": (50, 2), "while.1": (30, 1), "add.4": (30, 1), "cond.2": (20, 1),
                            "copy.5": (20, 1), "dot.9": (10, 1)}  # fmt: skip
    assert trace.seconds == pytest.approx(160e-6)  # 10 to 170, where the program ran
    assert trace.busy == pytest.approx(150e-6)  # idle from 130 to 135 and from 145 to 150
    assert {o.program for o in trace.operations if o.name == "dot.9"} == {"jit_run"}


def test_trace_without_the_program_is_an_error(read):
    with pytest.raises(ValueError, match="contains no events of jit_chunk"):
        read(plane("/host:CPU", pool=[("dot.1", 0, 1, "jit_other")]))
