"""Our code inside TFX's own nodes, found by import path: Transform's preprocessing_fn, Trainer's run_fn."""
