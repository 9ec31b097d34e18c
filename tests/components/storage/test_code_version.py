"""The version of the code that makes something: it changes with what decides the result, and with nothing else."""

import shutil
from pathlib import Path

import pytest

from components.storage import code_version

ROOT = Path(__file__).parents[3]
DECODER, EXAMPLES, REVIEW = "components.media.decoder_child", "components.ingest.example_gen", "components.gates.review"


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A copy of the code, whose versions are asked for."""
    for folder in ("components", "schemas"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_version, "_ROOT", tmp_path)
    yield tmp_path
    forget()


def forget():
    code_version.code_version.cache_clear()
    code_version._read.cache_clear()


def versions():
    forget()
    return {name: code_version.code_version(name) for name in (DECODER, EXAMPLES, REVIEW)}


@pytest.mark.parametrize(
    ("file", "text", "changed"),
    [
        ("components/media/picture.py", "\nMENDED = True\n", {DECODER, EXAMPLES, REVIEW}),
        ("components/media/decoder_child.py", "\nMENDED = True\n", {DECODER, EXAMPLES, REVIEW}),
        ("components/ingest/shards.py", "\nMENDED = True\n", {EXAMPLES, REVIEW}),
        ("components/review/page.css", "p { color: red }", {REVIEW}),
        ("components/registry/approval.py", "\nMENDED = True\n", set()),
        ("components/media/picture.py", "\n# A comment.\n", set()),
    ],
)
def test_an_edit_changes_the_versions_of_what_it_can_change(code, file, text, changed):
    before = versions()
    with (code / file).open("a") as edited:
        edited.write(text)
    after = versions()
    assert {name for name in before if before[name] != after[name]} == changed


def test_packages_that_are_installed_beside_ours_are_not_read(code):
    before = versions()
    for package in ("numpy", "tensorflow", "av"):
        (code / package).mkdir()
        (code / package / "__init__.py").write_text("no Python (")
    assert versions() == before
