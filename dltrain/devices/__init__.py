"""The devices of a run: platform, mesh, memory, precision, and the report of `dltrain doctor`."""
