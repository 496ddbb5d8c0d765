"""The name of the part whose function cannot be traced, in the message of its failure."""

import contextlib
from collections.abc import Generator

from dltrain.errors import ConfigError, DltrainError


@contextlib.contextmanager
def computing(key: str) -> Generator[None]:
    """Turn what the function of `key`, such as `metrics.f1`, raises while traced into a ConfigError with it."""
    try:
        yield
    except DltrainError:
        raise
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise ConfigError(
            f"{key}: cannot be computed from what this model returns and this task compares it with "
            f"({type(error).__name__}: {first}); leave it out, or choose another"
        ) from error
