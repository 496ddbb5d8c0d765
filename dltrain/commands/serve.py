"""Serve a trained model over HTTP: dltrain serve RUN port=8000; RUN is a run folder, or an export.

Answers the Open Inference Protocol v2 (JSON and binary tensors, as tritonclient and others speak it), and POST
/predict with examples as you would write them: JSON by column name, an image, a text. The page at / lets you try
the model. /signature, /openapi.json and /metrics (Prometheus) describe it. Listens on 127.0.0.1 unless host is
given; any other address needs a token, by the environment variable DLTRAIN_TOKEN or the option token. Requests that
wait are answered together; nothing waits longer for that unless delay is set. SIGTERM and Ctrl-C end it after the
requests that have arrived are answered. Any other key changes the run's own config for this call. Needs the extra
`serve`.
"""

import os

from dltrain.config.call import Call
from dltrain.inference.called import called_folder
from dltrain.inference.export.write import is_export
from dltrain.inference.run import Run
from dltrain.report.console import Screen, print_warning
from dltrain.serving.limits import MIB, Limits
from dltrain.serving.open import check_export, served_export, served_run
from dltrain.serving.server import Settings, check_installed, serve


def run(call: Call) -> int:
    """Open the run, and serve its model until SIGTERM or Ctrl-C."""
    check_installed()
    settings, screen = _settings(call), Screen()
    folder, composed = called_folder(call, "serve", what="run folder or export", check=check_export)
    if is_export(folder.path):
        model = served_export(folder, composed)
    else:
        model = served_run(Run(folder, composed, checkpoint=call.options["checkpoint"], warn=print_warning))
    screen.say(f"{folder.path}, checkpoint of step {model.step}")
    serve(model, settings, say=screen.say, warn=print_warning)
    return 0


def _settings(call: Call) -> Settings:
    options = call.options
    body, seconds = int(options["max_body"] * MIB), options["timeout"]
    limits = Limits(
        body=body,
        rows=options["max_rows"],
        queue=options["queue"],
        seconds=seconds,
        connections=options["connections"],
        memory=max(16 * body, Limits.memory),
        head_seconds=min(seconds, Limits.head_seconds),
    )
    token = options["token"] or os.environ.get("DLTRAIN_TOKEN") or None
    plain = {name: options[name] for name in ("host", "port", "batch")}
    return Settings(**plain, token=token, delay=options["delay"] / 1000, limits=limits)
