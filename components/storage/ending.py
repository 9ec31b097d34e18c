"""The end of a process that may have used tensorflow-io."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def end_process(status: int, *, at_once: bool = False) -> NoReturn:
    """Ends this process, as ``sys.exit`` does where it can be trusted.

    After use of its S3 file system, tensorflow-io aborts a process that exits normally, with status 134.

    Args:
      status: Exit status.
      at_once: Whether to leave threads that still run.
    """
    if at_once or "tensorflow_io" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
