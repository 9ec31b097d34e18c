"""The house's own rules: imports run one way, Keras is imported as `keras`, and a file fits in a head."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What a package may import of ours, besides itself.
MAY_IMPORT = {
    "schemas": set(),
    "models": {"schemas"},
    "components": {"schemas"},
    "pipeline": {"schemas", "models", "components"},
    "kubeflow": {"schemas", "models", "components", "pipeline"},
    "tests": {"schemas", "models", "components", "pipeline", "kubeflow"},
}
# The alternative with the parenthesis keeps the pattern from matching its own source.
LEGACY_KERAS = re.compile(
    r"\b(tf|tensorflow)(\.python|\.compat\.v[12])*\.(keras)\b|from +tensorflow(\.\S+)* +import .*\bkeras\b"
)
MAX_LINES = 400

# Text by path.
SOURCES = {
    path.relative_to(ROOT): path.read_text()
    for path in [*ROOT.glob("*.py"), *(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))]
}


def upward_imports(package, source):
    """What a source of a package imports of ours and must not: at its top, in functions and behind conditions."""
    modules = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.append(node.module)
    ours = {module.partition(".")[0] for module in modules} & set(MAY_IMPORT)
    return ours - MAY_IMPORT[package] - {package}


def legacy_keras_lines(source):
    return [line for line in source.splitlines() if LEGACY_KERAS.search(line)]


def too_long(source):
    return len(source.splitlines()) > MAX_LINES


def test_imports_run_one_way():
    packages = {path: text for path, text in SOURCES.items() if path.parts[0] in MAY_IMPORT}
    upward = {path: found for path, text in packages.items() if (found := upward_imports(path.parts[0], text))}
    assert not upward


@pytest.mark.parametrize(
    ("package", "source", "upward"),
    [
        ("schemas", "import models", {"models"}),
        ("models", "from components.video import store_clip", {"components"}),
        ("components", "def f():\n    from models import clips", {"models"}),
        ("pipeline", "if x:\n    import kubeflow.compile as k", {"kubeflow"}),
        ("pipeline", "from tests.conftest import TINY", {"tests"}),
        ("models", "from schemas import features\nfrom models import clips\nimport tensorflow", set()),
    ],
)
def test_an_upward_import_is_seen_wherever_it_stands(package, source, upward):
    assert upward_imports(package, source) == upward


def test_the_serving_check_loads_no_more_than_a_model_server_has():
    code = "import sys, components.serving_check; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    of_interest = {*MAY_IMPORT, "tfx", "apache_beam", "tensorflow_transform", "tensorflow"}
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


def test_a_file_of_401_lines_is_too_long():
    assert too_long("x = 1\n" * 401)
    assert not too_long("x = 1\n" * 400)
