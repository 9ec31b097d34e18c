"""What the network sees of a video: sampling, decoding, augmentation, and batches of it."""
