"""Construction from a checked config: model, data, objective, optimizer, plan and the compiled program."""
