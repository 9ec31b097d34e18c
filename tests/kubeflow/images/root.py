"""Roots: a Debian made by debootstrap in place of a base image, and commands in it.

Commands run in a chroot with a mount namespace of their own, so that no mount outlives them. That is no sandbox: use it
for Dockerfiles that you trust.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.kubeflow.images.dockerfile import DockerfileError

PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# How this machine reaches registries; a container would have been given the same.
NETWORK_FILES = ("/etc/hosts", "/etc/resolv.conf", "/etc/pip.conf", CERTIFICATES)
NETWORK_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "UV_DEFAULT_INDEX")
_OFFICIAL_PYTHON = re.compile(r"(?:docker\.io/)?(?:library/)?python:(3\.\d+)(?:\.\d+)?-slim-([a-z]+)(?:@sha256:\w+)?")
# $0: root; $1: user; $2: folder; $3: a folder of this machine to show, or nothing; then the command.
_ENTER = """set -e
mount -t proc proc "$0/proc"
mount --rbind /sys "$0/sys"
mount --rbind /dev "$0/dev"
root=$0 user=$1 folder=$2 shown=$3
shift 3
if [ -n "$shown" ]; then mkdir -p "$root$shown" && mount --bind "$shown" "$root$shown"; fi
exec chroot --userspec="$user" --groups="${user#*:}" "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""


def make_base(image: str, root: Path, mirror: str) -> None:
    """Makes a root in place of an official Python image: the same Debian, and the Python of its packages.

    Args:
      image: Name of the image, e.g. ``python:3.13-slim-trixie@sha256:…``.
      root: Folder to make.
      mirror: Debian mirror.

    Raises:
      DockerfileError: If the image is another one.
    """
    match = _OFFICIAL_PYTHON.fullmatch(image)
    if not match:
        raise DockerfileError(f"FROM {image}: only python:VERSION-slim-SUITE can be made by debootstrap")
    version, suite = match.groups()
    subprocess.run(["debootstrap", "--variant=minbase", suite, root, mirror], check=True, stdout=subprocess.DEVNULL)
    give_network(root)
    packages = [f"python{version}{suffix}" for suffix in ("", "-venv", "-dev")]
    install = f"apt-get install -y -qq --no-install-recommends ca-certificates python3-pip {' '.join(packages)}"
    # In the official image `python` is in /usr/local, and pip may install beside it.
    interpreter = f"for name in python python3; do ln -s /usr/bin/python{version} /usr/local/bin/$name; done"
    script = f"apt-get update -qq && {install} && {interpreter} && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED"
    env = {"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive"}
    run(root, ["/bin/sh", "-c", script], env=env, stdout=subprocess.DEVNULL)
    # The package has made its own.
    give_network(root)


def give_network(root: Path) -> None:
    """Copies what this machine has for reaching registries: names, pip's settings, certificates."""
    for name in NETWORK_FILES:
        if os.path.exists(name):
            target = root / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, target)


def network_environment() -> dict[str, str]:
    """The variables with which pip and uv reach registries from a root as from this machine."""
    found = {name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ}
    if os.path.exists(CERTIFICATES):
        bundle = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"), CERTIFICATES)
        found |= {**bundle, "UV_SYSTEM_CERTS": "1"}
    return found


def run(
    root: Path,
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    user: str = "0:0",
    folder: str = "/",
    shown: Path | None = None,
    **options,
) -> subprocess.CompletedProcess:
    """Runs a command in a root.

    Args:
      root: The root.
      command: Words of the command; its program is looked up in the root.
      env: Its whole environment.
      user: ``UID:GID`` to run as.
      folder: Folder of the root to start in.
      shown: Folder of this machine that the command sees under its own path.
      **options: Of `subprocess.run`.

    Raises:
      subprocess.CalledProcessError: If the command fails.
    """
    enter = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", _ENTER]
    words = [*enter, str(root), user, folder, str(shown or ""), "env", "-i"]
    words += [f"{name}={value}" for name, value in env.items()]
    return subprocess.run([*words, *command], check=True, **options)
