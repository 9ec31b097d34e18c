"""A folder to lay out a data set in: annotation files as text, videos that are real and one second long."""

import csv
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from components.manifest.importers.importing import import_data_set
from components.manifest.table import ManifestError
from tests.videos import write_video


@pytest.fixture(scope="session")
def second_of_video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("second") / "v.mp4", np.zeros((10, 32, 48, 3), np.uint8), fps=10)


@pytest.fixture
def data_set(tmp_path, second_of_video):
    """Writes annotations and videos, and imports them: `manifest.csv` by its rows, with what was left out."""

    def write(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    def videos(*names):
        for name in names:
            (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(second_of_video, tmp_path / "videos" / name)

    def load(data_format, *annotations):
        output = tmp_path / "manifest.csv"
        imported = import_data_set(data_format, annotations, videos=str(tmp_path / "videos"), output=str(output))
        rows = list(csv.DictReader(output.open(encoding="utf-8")))
        return SimpleNamespace(
            rows={row["id"]: {column: value for column, value in row.items() if value} for row in rows},
            splits={clip.id: clip.split for clip in imported.manifest.clips},
            groups={clip.id: clip.group for clip in imported.manifest.clips},
            missing=output.with_suffix(".csv.missing.txt"),
            classes_file=output.with_suffix(".csv.classes.txt"),
            imported=imported,
        )

    def problems(data_format, *annotations):
        with pytest.raises(ManifestError) as caught:
            load(data_format, *annotations)
        return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return SimpleNamespace(path=tmp_path, write=write, videos=videos, load=load, problems=problems)
