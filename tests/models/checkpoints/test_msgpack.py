"""The msgpack reader, on bytes written by hand from the format's definition."""

import struct

import numpy as np
import pytest

from models.checkpoints.msgpack import MAX_DEPTH, CorruptFileError, unpack


def text(value):
    return bytes([0xA0 | len(value)]) + value.encode()


def binary(value):
    return b"\xc6" + struct.pack(">I", len(value)) + value


def array(values):
    """Flax's extension type 1 of a numpy array."""
    shape = bytes([0x90 | values.ndim]) + b"".join(b"\xcd" + struct.pack(">H", side) for side in values.shape)
    payload = b"\x93" + shape + text(str(values.dtype)) + binary(values.tobytes())
    return b"\xc9" + struct.pack(">I", len(payload)) + b"\x01" + payload


def mapping(**entries):
    return bytes([0x80 | len(entries)]) + b"".join(text(name) + value for name, value in entries.items())


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x07", 7),
        (b"\xff", -1),
        (b"\xc0", None),
        (b"\xc2", False),
        (b"\xc3", True),
        (b"\xcb" + struct.pack(">d", 0.25), 0.25),
        (b"\xca" + struct.pack(">f", 0.25), 0.25),
        (b"\xcf" + struct.pack(">Q", 2**60), 2**60),
        (b"\xd1" + struct.pack(">h", -300), -300),
        (b"\xa2hi", "hi"),
        (b"\xd9\x02hi", "hi"),
        (b"\x92\x01\x02", [1, 2]),
        (b"\xdc\x00\x02\x01\x02", [1, 2]),
        (b"\x81\xa1a\x01", {"a": 1}),
        (b"\xde\x00\x01\xa1a\x01", {"a": 1}),
    ],
)
def test_reads_every_plain_type(data, value):
    assert unpack(data) == value


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "uint32", "bool"])
def test_reads_arrays(dtype):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    read = unpack(mapping(weights=array(values)))["weights"]
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


def test_joins_arrays_that_flax_cut_in_chunks():
    values = np.arange(12, dtype=np.float32)
    chunks = mapping(**{"0": array(values[:5]), "1": array(values[5:10]), "2": array(values[10:])})
    data = b"\x83" + b"\xd9\x19__msgpack_chunked_array__\xc3" + text("shape") + mapping(**{"0": b"\x03", "1": b"\x04"})
    np.testing.assert_array_equal(unpack(data + text("chunks") + chunks), values.reshape(3, 4))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends early"),
        (b"\xa5hi", "ends early"),
        (b"\x01\x02", "1 bytes too many"),
        (b"\xdd\xff\xff\xff\xff", "container of 4294967295 values"),
        (b"\xdf\xff\xff\xff\xff", "container of 4294967295 values"),
        (b"\xc6\xff\xff\xff\xff", "4294967295 bytes wanted"),
        (b"\x91" * (MAX_DEPTH + 2) + b"\x01", "deeper"),
        (b"\xc1", "0xc1"),
        (b"\xc7\x01\x05\x00", "extension 5"),
        (b"\xa2\xff\xfe", "UTF-8"),
        (b"\x81\x90\x01", "map key"),
        (array(np.zeros(3, np.float32)).replace(b"float32", b"object_"), "dtype 'object_'"),
        (array(np.zeros(3, np.float32)).replace(b"\xcd\x00\x03", b"\xcd\xff\xff"), r"shape \[65535\] in 12 bytes"),
    ],
)
def test_refuses_what_is_damaged_or_hostile(data, message):
    with pytest.raises(CorruptFileError, match=message):
        unpack(data)


def test_refuses_every_truncation_of_a_real_value():
    data = mapping(step=b"\x05", weights=array(np.ones((2, 2), np.float32)))
    for size in range(len(data)):
        with pytest.raises(CorruptFileError):
            unpack(data[:size])
