"""A folder to write data sets into."""

from types import SimpleNamespace

import pytest


@pytest.fixture
def folder(tmp_path):
    """Writes files into a folder; the videos a.mp4 to f.mp4 are there already (nothing is decoded here)."""

    def write(name, text="video"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    for letter in "abcdef":
        write(f"{letter}.mp4")
    return SimpleNamespace(path=tmp_path, write=write)
