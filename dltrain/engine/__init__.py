"""The training program: state, step, chunk, feed, loop, and what watches it."""
