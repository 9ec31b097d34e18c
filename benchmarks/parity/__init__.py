"""Our networks, checkpoints, preprocessing and training steps against numbers made by the reference."""
