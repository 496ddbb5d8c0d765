"""Runs dltrain; process 1 gets SIGTERM when the others do not know of it, at the moment that SIGNALLED names.

deciding: while the processes decide, for the fifth time, whether a signal has arrived. ended: after the last step.
"""

import os
import signal
import sys

from dltrain.cli.main import main
from dltrain.devices import hosts
from dltrain.runs.saver import Saver

decide, wait, asked = hosts.agreed_signal, Saver.wait, []


def agreed_signal(received: str | None) -> str | None:
    found = decide(received)
    asked.append(found)
    if hosts.index() == 1 and len(asked) == 5:
        signal.raise_signal(signal.SIGTERM)
    return found


def wait_signalled(saver: Saver) -> None:
    wait(saver)
    if hosts.index() == 1:
        signal.raise_signal(signal.SIGTERM)


if os.environ["SIGNALLED"] == "deciding":
    hosts.agreed_signal = agreed_signal
else:
    Saver.wait = wait_signalled
sys.exit(main())
