"""Inference with a trained model: outputs, evaluation, generated text and samples, attention maps."""
