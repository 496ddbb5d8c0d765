"""What `scripts/bench` measures: a file a section, and the programs that dltrain is compared with."""
