"""The command line: sections, programs, duration, and the output file."""

import argparse
import datetime
import json
import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SECTIONS = {
    "steps": "training steps per second of four networks, by dltrain and by other programs",
    "share": "`dltrain train` without evaluation, relative to a bare loop",
    "parts": "where the time of a step goes",
    "safety": "the cost of checking for NaN, and the delay by a checkpoint",
    "start": "time to the first step, and --help",
    "whole": "a whole command, by dltrain and by Lightning + Hydra",
    "data": "examples per second that each source delivers, by dltrain and by torch's DataLoader",
    "predict": "`dltrain predict` for a file of many rows, next to a bare loop over arrays",
    "sweep": "16 learning rates as one command, next to 16 commands; steps per second of 1 to 64 lanes",
    "sweep-peers": "32 trials by dltrain, by hydra-optuna-sweeper and by Ray Tune",
    "hosts": "training in 1 and in 4 processes of this machine, relative to a bare `jax.jit` step in as many",
    "gpu": "share of the matrix and copy rates of a GPU",
}


def main(words: list[str] | None = None) -> int:
    """Measure, print the table, and write the JSON file if one is given."""
    sys.path.insert(0, str(REPOSITORY))  # measures this checkout, installed or not
    os.environ.setdefault("KERAS_BACKEND", "jax")
    from benchmarks import (
        data,
        gpu,
        hosts,
        lanes_figure,
        nets,
        parts,
        predict,
        safety,
        share,
        start,
        steps,
        sweep,
        sweep_peers,
        whole,
    )
    from benchmarks.measure import Setup, Skip, Table, machine, say

    known = (*SECTIONS, *nets.NAMES, *steps.PEERS)
    arguments = _parser(known).parse_args(words)
    tiny = arguments.test_size
    rounds = arguments.rounds or (1 if tiny else 7)
    peers_only = set(arguments.only) & set(steps.PEERS) and not set(arguments.only) & set(SECTIONS)
    only = (*arguments.only, "steps") if peers_only else tuple(arguments.only)  # the one section that has these
    setup = Setup(rounds=rounds, seconds=arguments.seconds, tiny=tiny, only=only)
    table, date = Table(), f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    described = {**machine(), "device": nets.device(), "data": nets.data_name(setup)}
    say("\n".join([date, *(f"{name:<12} {value}" for name, value in described.items()), ""]))
    runs = {
        "steps": steps,
        "share": share,
        "parts": parts,
        "safety": safety,
        "start": start,
        "whole": whole,
        "data": data,
        "predict": predict,
        "sweep": sweep,
        "sweep-peers": sweep_peers,
        "hosts": hosts,
        "gpu": gpu,
    }
    for section, module in runs.items():
        if not setup.wants(section, SECTIONS):
            continue
        try:
            module.run(table, setup)
        except Skip as reason:
            table.skip(section, reason)
    described["load at the end"] = os.getloadavg()[0]
    say(f"\nload {described['load']:.2f} at the start, {described['load at the end']:.2f} at the end")
    if arguments.json:
        found = {"date": date, "machine": described, "setup": {"rounds": rounds, "seconds": arguments.seconds}}
        found |= {"test_size": tiny, "rows": [row.as_json() for row in table.rows], "skipped": table.skipped}
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if arguments.lanes_figure:
        lanes_figure.draw_lanes([row.as_json() for row in table.rows], Path(arguments.lanes_figure))
    return 0


def _parser(known: tuple[str, ...]) -> argparse.ArgumentParser:
    sections = "\n".join(f"  {name:<11} {what}" for name, what in SECTIONS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure dltrain and other programs. Sections:\n" + sections,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    only = f"sections, nets or programs to measure, of: {', '.join(known)}"
    parser.add_argument("--only", nargs="+", default=[], choices=known, metavar="NAME", help=only)
    parser.add_argument("--rounds", type=int, help="rounds in which the programs take turns (7)")
    parser.add_argument("--seconds", type=float, default=1.0, help="time of one measurement (1)")
    parser.add_argument("--json", metavar="FILE", help="also write everything there")
    parser.add_argument("--lanes-figure", metavar="FILE", help="draw the section sweep there, as a PNG")
    parser.add_argument("--test-size", action="store_true", help="tiny nets, one round: to see that it works")
    return parser
