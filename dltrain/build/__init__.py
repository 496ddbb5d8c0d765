"""Turns a checked config into objects: model, data, objective, optimizer, plan and the compiled program."""
