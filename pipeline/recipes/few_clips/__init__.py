"""Recipes of a user's own videos, a few hundred of them, from a pretrained image ViT."""
