"""The training of one model's weights: what it is given, and the machines that do it, of the pipeline or others."""
