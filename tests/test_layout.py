"""The rules of the code itself: imports run one way between rooms, Keras is `keras`, a file fits in a head."""

import ast
import collections
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW_PIPELINE = {
    "schemas",
    *("models.network", "models.clips", "models.checkpoints", "models.training", "models.serving"),
    *("components.storage", "components.media", "components.manifest", "components.ingest", "components.gates"),
    *("components.evaluation", "components.registry", "components.review"),
}
# What a room may import of ours, besides itself.
MAY_IMPORT = {
    "schemas": set(),
    "models.network": set(),
    "models.clips": {"schemas"},
    "models.checkpoints": {"models.network"},
    "models.training": {"schemas", "models.network", "models.clips", "models.checkpoints"},
    "models.serving": {"schemas", "models.network", "models.clips", "models.checkpoints"},
    "components": set(),
    "components.storage": set(),
    "components.media": {"schemas", "components.storage"},
    "components.manifest": {"schemas", "components.storage", "components.media"},
    "components.ingest": {"schemas", "components.storage", "components.media", "components.manifest"},
    "components.evaluation": {"schemas", "components.storage"},
    "components.registry": {"schemas", "components.storage", "components.evaluation"},
    "components.review": {"schemas", "components.media", "components.evaluation", "components.registry"},
    "components.gates": {
        *("schemas", "components.ingest", "components.manifest"),
        *("components.evaluation", "components.registry", "components.review"),
    },
    # Settings, the recipe and what the terminal shows; the DAG, its data and its runs.
    "pipeline": {
        *BELOW_PIPELINE,
        *("pipeline.recipes", "pipeline.nodes", "pipeline.training", "pipeline.plan"),
        *("pipeline.local", "pipeline.commands"),
    },
    "pipeline.recipes": {*BELOW_PIPELINE, "pipeline"},
    "pipeline.training": {*BELOW_PIPELINE, "pipeline"},
    "pipeline.nodes": {*BELOW_PIPELINE, "pipeline", "pipeline.training"},
    "pipeline.plan": {*BELOW_PIPELINE, "pipeline"},
    "pipeline.local": {*BELOW_PIPELINE, "pipeline"},
    "pipeline.check": {*BELOW_PIPELINE, "pipeline", "pipeline.plan"},
    "pipeline.inference": {*BELOW_PIPELINE, "pipeline"},
    "pipeline.timeline": {*BELOW_PIPELINE, "pipeline", "pipeline.inference"},
    "pipeline.serving": {*BELOW_PIPELINE, "pipeline", "pipeline.inference"},
    "pipeline.versions": {*BELOW_PIPELINE, "pipeline"},
    "pipeline.doctor": {*BELOW_PIPELINE, "pipeline"},
    "pipeline.commands": {
        *BELOW_PIPELINE,
        *("pipeline", "pipeline.plan", "pipeline.local", "pipeline.training"),
        *("pipeline.check", "pipeline.inference", "pipeline.timeline", "pipeline.serving"),
        *("pipeline.versions", "pipeline.doctor"),
    },
    "kubeflow.cluster": {"pipeline"},
    "kubeflow.submit": {*BELOW_PIPELINE, "pipeline", "pipeline.versions"},
    "kubeflow": {
        *BELOW_PIPELINE,
        *("pipeline", "pipeline.plan", "pipeline.commands", "kubeflow.cluster", "kubeflow.submit"),
    },
    "benchmarks": {
        *BELOW_PIPELINE,
        *("pipeline", "pipeline.local", "pipeline.commands"),
        *("pipeline.inference", "pipeline.timeline", "pipeline.serving"),
    },
}
PACKAGES = ("schemas", "models", "components", "pipeline", "kubeflow", "benchmarks", "tests")
WITHOUT_TFX = (
    "schemas",
    "models",
    "components.storage",
    "components.media",
    "components.manifest",
    "components.evaluation",
    "components.registry",
    "components.review",
)
# The alternative with the parenthesis keeps the pattern from matching its own source.
LEGACY_KERAS = re.compile(
    r"\b(tf|tensorflow)(\.python|\.compat\.v[12])*\.(keras)\b|from +tensorflow(\.\S+)* +import .*\bkeras\b"
)
MAX_LINES = 400

MAX_LINES, MEDIAN_LINES, MAX_FILES = 400, 130, 14

# Text by path.
SOURCES = {
    path.relative_to(ROOT): path.read_text()
    for path in [*ROOT.glob("*.py"), *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))]
}


def room_of(module):
    """The room that a module stands in: the longest name of one."""
    return max((room for room in MAY_IMPORT if f"{module}.".startswith(f"{room}.")), key=len, default="")


def upward_imports(room, source):
    """What a source of a room imports of ours and must not: at its top, in functions and behind conditions."""
    modules = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            # What is imported may be a module itself.
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    ours = {room_of(module) or module.partition(".")[0] for module in modules if module.partition(".")[0] in PACKAGES}
    return ours - MAY_IMPORT[room] - {room}


def legacy_keras_lines(source):
    return [line for line in source.splitlines() if LEGACY_KERAS.search(line)]


def too_long(source):
    return len(source.splitlines()) > MAX_LINES


def test_imports_run_one_way():
    upward = {}
    for path, text in SOURCES.items():
        room = room_of(".".join(path.with_suffix("").parts))
        if room and (found := upward_imports(room, text)):
            upward[path] = found
    assert not upward


@pytest.mark.parametrize(
    ("room", "source", "upward"),
    [
        ("schemas", "import models.network", {"models.network"}),
        ("models.clips", "from components.media.video import store_clip", {"components.media"}),
        ("models.network", "from models.clips import augment", {"models.clips"}),
        ("components.media", "def f():\n    from components.manifest import reader", {"components.manifest"}),
        ("pipeline.nodes", "if x:\n    import kubeflow.compile as k", {"kubeflow"}),
        ("pipeline", "from pipeline.check import page", {"pipeline.check"}),
        ("pipeline", "from tests.conftest import TINY", {"tests"}),
        ("models.clips", "from schemas import features\nfrom models.clips import augment\nimport tensorflow", set()),
    ],
)
def test_an_upward_import_is_seen_wherever_it_stands(room, source, upward):
    assert upward_imports(room, source) == upward


def test_network_clips_media_and_manifest_work_without_tfx():
    rooms = [path for path in SOURCES if ".".join(path.parts).startswith(tuple(f"{room}." for room in WITHOUT_TFX))]
    modules = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in rooms]
    assert {"models.network.vivit", "components.media.decoder", "models.training.loop"} <= set(modules)
    code = f"import importlib, sys; sys.modules['tfx'] = None; [importlib.import_module(name) for name in {modules}]"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_serving_check_loads_no_more_than_a_model_server_has():
    code = "import sys, components.gates.serving_check; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    of_interest = {*PACKAGES, "tfx", "apache_beam", "tensorflow_transform", "tensorflow"}
    assert of_interest & set(done.stdout.split()) == {"components", "schemas", "tensorflow"}


def test_keras_is_imported_as_keras():
    assert not {path: found for path, text in SOURCES.items() if (found := legacy_keras_lines(text))}


@pytest.mark.parametrize("prefix", ["tf", "tensorflow", "tensorflow.compat.v2", "tf.compat.v1", "tensorflow.python"])
def test_keras_through_tensorflow_is_seen(prefix):
    for source in (f"layer = {prefix}." + "keras.layers.Dense(3)", f"import {prefix}." + "keras as k"):
        assert legacy_keras_lines(source) == [source]


def test_keras_from_tensorflow_is_seen_and_keras_alone_is_not():
    assert legacy_keras_lines("from tensorflow" + " import io, keras")
    assert not legacy_keras_lines("import keras\nfrom keras import layers\nimport tensorflow as tf")


def test_a_file_fits_in_a_head():
    assert not [path for path, text in SOURCES.items() if too_long(text)]
    assert statistics.median(len(text.splitlines()) for text in SOURCES.values()) < MEDIAN_LINES


def test_a_folder_can_be_looked_over():
    files = collections.Counter(path.parent for path in SOURCES)
    assert not {str(folder): count for folder, count in files.items() if count > MAX_FILES}


def test_a_file_of_401_lines_is_too_long():
    assert too_long("x = 1\n" * 401)
    assert not too_long("x = 1\n" * 400)
