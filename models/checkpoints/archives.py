"""Readers of the two plain array archives, ``.npz`` and ``.safetensors``, and a writer of the latter.

Neither unpickles anything, and both compare each array's declared size with the bytes present before allocation.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from models.checkpoints.msgpack import CorruptFileError

MAX_INFLATED_BYTES = 2**30
MAX_INFLATION = 20
MAX_HEADER_BYTES = 100_000_000

SAFETENSORS_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
}


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an ``.npz`` file.

    Raises:
      CorruptFileError: Where it is damaged, holds Python objects, or would inflate to an implausible size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            inflated, packed = sum(member.file_size for member in members), path.stat().st_size
            if inflated > max(MAX_INFLATED_BYTES, MAX_INFLATION * packed):
                raise CorruptFileError(f"{packed} bytes that would inflate to {inflated}")
            return {member.filename.removesuffix(".npy"): _read_npy(archive, member) for member in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise CorruptFileError(f"damaged archive: {error}") from error


def _read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise CorruptFileError(f"{member.filename}: npy version {version}, wanted (1, 0) or (2, 0)")
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read_header(file)
        if dtype.hasobject:
            raise CorruptFileError(f"{member.filename}: holds Python objects")
        size = math.prod(shape) * dtype.itemsize
        if file.tell() + size != member.file_size:
            raise CorruptFileError(f"{member.filename}: {dtype} of shape {shape} in {member.file_size} bytes")
        array = np.frombuffer(file.read(size), dtype).reshape(shape, order="F" if fortran_order else "C")
    # numpy does not know bfloat16, and saves it as two untyped bytes.
    return array.view(ml_dtypes.bfloat16) if dtype == np.dtype("V2") else array


def read_safetensors(data: memoryview) -> dict[str, np.ndarray]:
    """Reads all arrays of a ``.safetensors`` file, as views of its bytes.

    Raises:
      CorruptFileError: Where the header is damaged, or its sizes do not match the data.
    """
    try:
        header, start = _safetensors_header(data)
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: _read_tensor(name, entry, data[start:]) for name, entry in entries.items()}
    except (AttributeError, KeyError, RecursionError, TypeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"damaged safetensors header: {error!r}") from error


def safetensors_metadata(data: memoryview) -> dict[str, str]:
    """The metadata of a ``.safetensors`` file; empty where the file is none, or has none that can be read."""
    try:
        header, _ = _safetensors_header(data)
        found = header.get("__metadata__", {})
        return {key: value for key, value in found.items() if isinstance(value, str)}
    except (AttributeError, RecursionError, ValueError):
        return {}


def write_safetensors(file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes arrays as a ``.safetensors`` file, in the order of their names; the same content gives the same bytes.

    Raises:
      KeyError: If an array has a dtype that the format, or `SAFETENSORS_DTYPES`, does not name.
    """
    names = {dtype: name for name, dtype in SAFETENSORS_DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for name in sorted(arrays):
        array = arrays[name]
        end = start + array.nbytes
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    # Readers that map the file want the arrays at a multiple of 8.
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in sorted(arrays):
        file.write(arrays[name].tobytes())


def _safetensors_header(data: memoryview) -> tuple[dict[str, Any], int]:
    """The header of a ``.safetensors`` file, and where the arrays start."""
    size = int.from_bytes(data[:8], "little")
    if size > min(len(data) - 8, MAX_HEADER_BYTES):
        raise CorruptFileError(f"safetensors header of {size} bytes in a file of {len(data)}")
    return json.loads(bytes(data[8 : 8 + size])), 8 + size


def _read_tensor(name: str, entry: dict, data: memoryview) -> np.ndarray:
    if entry["dtype"] not in SAFETENSORS_DTYPES:
        raise CorruptFileError(f"{name}: dtype {entry['dtype']!r}, allowed are {', '.join(SAFETENSORS_DTYPES)}")
    dtype, shape, (start, end) = SAFETENSORS_DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or not 0 <= start <= end <= len(data) or end - start != size:
        raise CorruptFileError(f"{name}: {dtype} of shape {shape} at bytes {start} to {end} of {len(data)}")
    return np.frombuffer(data[start:end], dtype).reshape(shape)
