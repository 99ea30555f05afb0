"""A bundle for other runtimes: its networks, with all that stands around them, as ONNX and TFLite."""
