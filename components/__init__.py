"""Custom TFX components and the media code they need. A library without TFX."""

import importlib

# Kubeflow's entry point finds a custom artifact type by importing its TYPE_NAME, of the form <package>.<Class>.
_ARTIFACT_TYPES = {
    "Quarantine": "components.ingest.example_gen",
    "ProductionModel": "components.gates.production",
    "PredictionsTable": "components.gates.scorer",
    "ClipHashes": "components.gates.clip_hasher",
    "SmallerModels": "components.gates.smaller_models",
    "ReviewArtifact": "components.gates.review",
}


def __getattr__(name: str):
    # Deferred, so that the parts without TFX stay without TFX.
    if name in _ARTIFACT_TYPES:
        return getattr(importlib.import_module(_ARTIFACT_TYPES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
