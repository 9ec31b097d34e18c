"""What stops a run or a push: the validator of the data, the canary of the model, the baseline."""
