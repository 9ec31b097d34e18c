"""The same pipeline, compiled for Kubeflow Pipelines v2."""
