"""The metrics of a model, and the thresholds that it must reach."""
