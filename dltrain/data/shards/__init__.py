"""Data in many files: shards that are listed, copied to this machine, indexed, and read at random."""
