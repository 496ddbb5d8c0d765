"""A trained model and its uses: generating text and examples, and attention maps."""
