"""From a video file to JPEG frames; works without TFX, and the decoder's child without TensorFlow."""
