"""Student's t distribution, for the intervals of means."""

LEVEL = 0.95


def quantile(freedom: float) -> float:
    """Return the value that Student's t stays below, in size, with probability LEVEL; NaN without any freedom."""
    from scipy import special  # slow to import

    return float(special.stdtrit(freedom, (1 + LEVEL) / 2)) if freedom > 0 else float("nan")


def cumulative(t: float, freedom: float) -> float:
    """Return the probability that Student's t is at most `t`."""
    from scipy import special

    return float(special.stdtr(freedom, t))
