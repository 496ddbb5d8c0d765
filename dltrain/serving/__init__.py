"""A trained model over HTTP: the Open Inference Protocol, plain requests, metrics, and a page to try it.

Only this package imports starlette and uvicorn, which the extra `serve` installs: the files `app`, `guard` and
`connection`, which `server` imports when it starts.
"""
