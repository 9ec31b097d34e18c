"""The ViViT family: layers, the four variants, and their cost. Keras alone."""
