"""The version of the code that makes something: what a cache must compare besides inputs and settings.

Contract: it changes with the code and the libraries that decide the result, and with nothing else: neither with
comments and docstrings, nor with modules that the code does not import.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
from importlib import metadata
from pathlib import Path

_ROOT = Path(__file__).parents[2]
# Ours; in an image all other packages are installed beside them.
_PACKAGES = {"schemas", "models", "components", "pipeline", "kubeflow", "benchmarks"}
# Libraries that compute what is stored, by the name that imports them; the others (Beam, fsspec) only carry it.
_LIBRARIES = {
    "av": "av",
    "simplejpeg": "simplejpeg",
    "PIL": "pillow",
    "numpy": "numpy",
    "scipy": "scipy",
    "tensorflow": "tensorflow",
    "keras": "keras",
    "tensorflow_transform": "tensorflow-transform",
    "tensorflow_model_analysis": "tensorflow-model-analysis",
}
_FILE_NAME = re.compile(r"\w+\.\w+")
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def code_version(*modules: str) -> str:
    """Hash of modules of ours, of every module of ours that they import, and of the versions of their libraries.

    An import counts wherever it stands, and so does the name of a module as a string: a child process runs it.

    Args:
      modules: Names of modules, e.g. ``components.media.decoder_child``.
    """
    waiting, found, libraries = list(modules), {}, {}
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found[module], imported = _read(module)
        for name in imported:
            package = name.partition(".")[0]
            if package in _LIBRARIES:
                libraries[package] = metadata.version(_LIBRARIES[package])
            elif _file_of(name):
                waiting.append(name)
    parts = [f"{name}={version}" for name, version in sorted((found | libraries).items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def is_ours(module: str) -> bool:
    """Whether a module is one of this project."""
    return _file_of(module) is not None


def _file_of(module: str) -> Path | None:
    if module.partition(".")[0] not in _PACKAGES:
        return None
    path = _ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@functools.cache
def _read(module: str) -> tuple[str, frozenset[str]]:
    """Hash of a module without its comments and docstrings, and of the files beside it that it names; its imports."""
    path = _file_of(module)
    tree = ast.parse(path.read_bytes())
    nodes = list(ast.walk(tree))
    strings = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    for node in nodes:
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    beside = sorted(path.with_name(text) for text in strings if _FILE_NAME.fullmatch(text))
    content = [ast.unparse(tree).encode(), *(file.read_bytes() for file in beside if file.is_file())]
    names = {text for text in strings if "." in text and text.replace(".", "").isidentifier()}
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # What is imported from a package may be a module.
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return hashlib.sha256(b"".join(content)).hexdigest(), frozenset(names)
