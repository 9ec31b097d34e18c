"""What tests of the cluster's file share."""

import copy

import pytest

from kubeflow.cluster.config import read_cluster

_SPEC = {
    "components": {
        "comp-VideoExampleGen": {"executorLabel": "VideoExampleGen_executor"},
        "comp-Trainer": {"executorLabel": "Trainer_executor"},
        "comp-Weights": {"executorLabel": "Weights_executor"},
    },
    "deploymentSpec": {
        "executors": {
            "VideoExampleGen_executor": {"container": {"image": "image", "command": ["ingest"]}},
            "Trainer_executor": {"container": {"image": "image", "command": ["train"]}},
            "Weights_executor": {"importer": {"artifactUri": {"constant": "gs://bucket/weights"}}},
        }
    },
    "root": {
        "dag": {
            "tasks": {
                name: {
                    "cachingOptions": {"enableCache": True},
                    "componentRef": {"name": f"comp-{name}"},
                    "taskInfo": {"name": name},
                }
                for name in ("VideoExampleGen", "Trainer", "Weights")
            }
        }
    },
}


@pytest.fixture
def spec():
    """Two steps with containers, and an importer."""
    return copy.deepcopy(_SPEC)


@pytest.fixture
def cluster(tmp_path):
    """Reads a file with a text."""

    def read(text):
        file = tmp_path / "cluster.yaml"
        file.write_text(text)
        return read_cluster(str(file))

    return read
