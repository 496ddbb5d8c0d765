"""The benchmarks of `scripts/bench`: one file per section, and the programs that dltrain is compared with."""
