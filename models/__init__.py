"""Everything that is TensorFlow and Keras: the ViViT family, clips, training, export. A library without TFX."""
