"""The training program: state, step, chunk, feed, loop, evaluation, and the events that callbacks receive."""
