"""Pretrained weights: readers of public checkpoint files, and how they are fitted to a network.

`readers.read_checkpoint` turns any supported file into arrays under the reference's names; `initialise.initialise` fits
them to a ViViT. None of it needs JAX, Flax or PyTorch, and none of it executes the content of a file.
"""
