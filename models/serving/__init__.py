"""The SavedModel: signatures, and the conversion of published checkpoints."""
