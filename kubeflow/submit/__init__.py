"""Compiled specs sent to Kubeflow Pipelines or Vertex AI, once or on a schedule, and followed to their end."""
