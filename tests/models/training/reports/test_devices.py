"""models.training.reports.devices: peaks by the names that TensorFlow and Google Cloud give to devices."""

import pytest

from models.training.reports.devices import memory_used, peak_flops, peak_of


@pytest.mark.parametrize(
    ("kind", "name", "dtype", "peak"),
    [
        ("GPU", "NVIDIA H100 80GB HBM3", "bfloat16", 989e12),
        ("GPU", "NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("GPU", "NVIDIA H200", "float32", 494e12),
        ("GPU", "NVIDIA A100-SXM4-40GB", "bfloat16", 312e12),
        ("GPU", "NVIDIA A10", "float32", 62e12),
        ("GPU", "NVIDIA A10G", "bfloat16", None),
        ("GPU", "NVIDIA L40S", "bfloat16", 362e12),
        ("GPU", "NVIDIA L4", "bfloat16", 121e12),
        ("GPU", "Tesla V100-SXM2-16GB", "bfloat16", None),
        ("GPU", "Tesla T4", "float32", 8.1e12),
        ("GPU", "NVIDIA GeForce RTX 9090", "float32", None),
        ("TPU", "v3-8", "bfloat16", 61.5e12),
        ("TPU", "v5litepod-16", "float32", 197e12),
        ("TPU", "", "bfloat16", None),
    ],
)
def test_a_device_has_the_peak_of_its_data_sheet_or_none(kind, name, dtype, peak):
    assert peak_of(kind, name, dtype) == peak


def test_this_process_uses_memory_on_a_cpu_whose_peak_nobody_states():
    assert 0.05 < memory_used() < 100
    assert peak_flops("float32") is None
