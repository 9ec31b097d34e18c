"""Measurements of our code against bare loops, stock layers and the reference's numbers; not part of the image."""
