"""What a stage's root holds after COPY, and when it is built again. RUN needs root: see test_image.py."""

import pytest

from tests.kubeflow.images.build import build, load_config
from tests.kubeflow.images.dockerfile import DockerfileError

DOCKERFILE = """
ARG WHERE=here
FROM python:3.13-slim-trixie AS code
ARG WHERE
WORKDIR /build
COPY one.txt folder ${WHERE}/
COPY folder all
FROM python:3.13-slim-trixie AS last
COPY --from=code /build /opt/code
ENV PATH=/opt/code:$PATH
WORKDIR /home
USER 1000:0
CMD ["one"]
FROM last
"""


@pytest.fixture
def built(tmp_path):
    """Builds in a folder whose base is made already, with one file; what was built is in `lines`."""
    (tmp_path / "base-python-3.13-slim-trixie").mkdir()
    (tmp_path / "base-python-3.13-slim-trixie" / "of-base").write_text("base")
    context = tmp_path / "context"
    (context / "folder" / "inner").mkdir(parents=True)
    (context / "one.txt").write_text("1")
    (context / "folder" / "inner" / "two.txt").write_text("2")
    (context / ".dockerignore").write_text("*\n!one.txt\n!folder\n")

    def run(text=DOCKERFILE, **arguments):
        lines = []
        (tmp_path / "Dockerfile").write_text(text)
        root = build(tmp_path / "Dockerfile", context, tmp_path, arguments, echo=lines.append)
        return root, [line.split("]")[0].lstrip("[") for line in lines if "was built before" not in line]

    run.context = context
    return run


def files(root):
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_files_and_the_contents_of_folders_are_copied_between_context_and_stages(built):
    root, _ = built()
    copied = {"here/one.txt": "1", "here/inner/two.txt": "2", "all/inner/two.txt": "2"}
    assert files(root) == {"of-base": "base"} | {f"opt/code/{name}": text for name, text in copied.items()}


def test_an_image_says_what_its_containers_are(built):
    config = load_config(built()[0])
    assert (config.user, config.folder, list(config.command)) == ("1000:0", "/home", ["one"])
    assert config.env["PATH"].startswith("/opt/code:/usr/local/bin:")


def test_a_stage_is_built_again_only_if_what_it_is_made_from_has_changed(built):
    assert set(built()[1]) == {"code", "last"}
    assert built()[1] == []
    # A comment is no change; another argument, file or instruction is, for the stages after it too.
    assert built("# why\n" + DOCKERFILE)[1] == []
    root, again = built(WHERE="there")
    assert set(again) == {"code", "last"} and (root / "opt" / "code" / "there" / "one.txt").exists()
    (built.context / "one.txt").write_text("other")
    assert set(built(WHERE="there")[1]) == {"code", "last"}
    assert set(built(DOCKERFILE.replace("/home", "/srv"), WHERE="there")[1]) == {"last"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("COPY one.txt", "COPY tests", "line 6: tests is not in the context; see .dockerignore"),
        ("--from=code", "--from=cade", "line 9: --from=cade is no stage before this one"),
        ("USER 1000:0", "USER vivit", "line 12: USER vivit: wanted numbers, UID:GID, which a cluster can check"),
        ("FROM python:3.13-slim-trixie AS last", "FROM alpine AS last", "FROM alpine: only python:VERSION-slim-SUITE"),
    ],
)
def test_what_cannot_be_done_is_refused(built, old, new, message):
    with pytest.raises(DockerfileError, match=message):
        built(DOCKERFILE.replace(old, new, 1))
