"""Recipes that start from published video transformers."""
