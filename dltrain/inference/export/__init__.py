"""Export of trained models: StableHLO, ONNX and safetensors, with a signature, checked on real examples."""
