"""kubeflow/Dockerfile, executed and checked. It takes ten minutes and 10 GB, so it runs only where it is asked for."""

import os
import shutil
from pathlib import Path

import pytest

from tests.kubeflow.images.build import build
from tests.kubeflow.images.check import ROOT, check

FOLDER = os.environ.get("VIVIT_IMAGE_ROOTS", "")


@pytest.mark.skipif(not FOLDER, reason="set VIVIT_IMAGE_ROOTS to a folder with 10 GB to build the image in it")
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("debootstrap"), reason="needs root and debootstrap")
def test_the_image_is_built_and_is_what_it_must_be():
    Path(FOLDER).mkdir(parents=True, exist_ok=True)
    root = build(ROOT / "kubeflow" / "Dockerfile", ROOT, Path(FOLDER).resolve(), {})
    check(root, "tfx121", limit=2.6)
