"""The ViViT family: layers, the four variants, their cost, and where they look. Keras on TensorFlow alone."""
