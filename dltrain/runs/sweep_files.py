"""Names of what the folder of a sweep holds besides those of its jobs."""

JOBS = ".jobs"
"""The plan of a sweep, and a file for each job with its exit code; until all of them are done."""

LIST = "jobs.txt"
"""The folder of each job, which `overwrite=true` may replace."""

MANIFEST = "search.json"
"""What a search searches, and the name of its study."""

POPULATION = "pbt.json"
"""The members of a population, their numbers, and who copied whom and when."""

STOPPED = (130, 143)
"""Exit codes of a job that a signal has ended: it can be resumed."""
