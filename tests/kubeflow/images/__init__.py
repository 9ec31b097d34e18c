"""kubeflow/Dockerfile, executed where there is no container daemon."""
