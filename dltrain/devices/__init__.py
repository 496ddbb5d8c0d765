"""What a run computes on: platform, mesh, memory, precision, and the report of `dltrain doctor`."""
