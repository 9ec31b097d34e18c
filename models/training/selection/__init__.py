"""Which weights are kept: judged by training clips that are held out."""
