"""What a training run shows while it goes on: lines, TensorBoard, and what its devices could do."""
