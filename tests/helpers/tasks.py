"""Tasks for `dltrain.sweep.workers`: processes that are spawned import them from here."""

import os
import signal
import time


def make_work():
    """Make what a worker does with a task: a name, a value, and what the parent wants to know of it."""

    def work(task, parent):
        name, value, *_ = task
        if name == "ask":
            parent.tell(f"asks {value}")
            return parent.ask(value)
        if name == "die":
            os.kill(os.getpid(), value)
        if name == "exit":
            os._exit(value)
        if name == "sleep":
            time.sleep(value)
        if name == "session":
            return os.getsid(0) == os.getpid()
        if name == "wait for a signal":
            signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind a shell's `&`
            try:
                parent.tell("waits")
                for _ in range(300):  # a signal between two calls is noticed after the next one
                    time.sleep(0.1)
            except KeyboardInterrupt:
                return signal.SIGINT
        return os.getpid()

    return work
