"""New examples for a trained model, read from files in blocks and in the form of the training data; no targets."""
