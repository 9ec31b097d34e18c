"""What is measured of a model, and what it must reach."""
