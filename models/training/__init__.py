"""The training loop, its steps, optimisers, losses and strategies."""
