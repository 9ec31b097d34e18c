"""Parameters, shapes and GFLOPs against the reference's own counts."""

import json
import resource
from pathlib import Path

import keras
import pytest

from models.network.cost import measure_cost
from models.network.vivit import ViViTConfig, build_vivit, weights_by_name

GOLDEN = Path(__file__).parents[2] / "golden"
COUNTS = json.loads((GOLDEN / "param_counts.json").read_text())
LARGE = {"hidden_size": 1024, "num_layers": 24, "num_heads": 16, "mlp_dim": 4096}
NETWORKS = {
    "kinetics400__vivit_base_k400": (ViViTConfig(variant="spacetime"), {"label": 400}),
    "kinetics400__vivit_base_factorised_encoder": (ViViTConfig(), {"label": 400}),
    "epic_kitchens__vivit_large_factorised_encoder": (ViViTConfig(**LARGE), {"noun": 300, "verb": 97}),
    "paper__model3_base_fsa_k400": (
        ViViTConfig(variant="factorized_self_attention", classifier="gap"),
        {"label": 400},
    ),
    "paper__model4_base_fdp_k400": (ViViTConfig(variant="factorized_dot_product", classifier="gap"), {"label": 400}),
    "paper__base_fe_avgpool_k400": (ViViTConfig(temporal_layers=0), {"label": 400}),
}


def reference_shapes(name):
    rows = (line.split("\t") for line in (GOLDEN / "param_shapes" / f"{name}.tsv").read_text().splitlines())
    return {name: tuple(int(side) for side in shape.split("x")) for name, shape in rows}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_published_network_has_the_references_weights_and_gflops(name):
    config, heads = NETWORKS[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cost = measure_cost(config, clip_shape=tuple(COUNTS[name]["input"]), heads=heads)
    grown_bytes = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert cost.parameters == COUNTS[name]["params"]
    assert cost.shapes == reference_shapes(name)
    assert cost.gflops == pytest.approx(COUNTS[name]["gflops_multiply_add_as_one"], rel=0.01)
    assert grown_bytes < 4 * cost.parameters


def test_multiply_adds_are_those_of_the_matrix_products():
    config = ViViTConfig(
        variant="spacetime", tubelet=(2, 8, 8), hidden_size=12, num_layers=1, num_heads=2, mlp_dim=20, classifier="gap"
    )
    cost = measure_cost(config, clip_shape=(4, 16, 16), heads={"label": 5})
    tokens, width = 8, 12
    embedding = tokens * (2 * 8 * 8 * 3) * width
    attention = 4 * tokens * width * width + 2 * tokens * tokens * width
    assert cost.multiply_adds == embedding + attention + 2 * tokens * width * 20 + width * 5


def test_counting_leaves_no_trace_in_later_networks():
    config = ViViTConfig(hidden_size=12, num_layers=1, temporal_layers=1, num_heads=2, mlp_dim=20, dropout=0.1)
    cost = measure_cost(config, clip_shape=(4, 32, 32), heads={"label": 5})
    model = build_vivit(config, clip_shape=(4, 32, 32), heads={"label": 5})
    assert {name: tuple(weight.shape) for name, weight in weights_by_name(model).items()} == cost.shapes
    assert model(keras.ops.zeros((1, 4, 32, 32, 3)), training=True)["label"].shape == (1, 5)


def test_a_step_multiplies_three_times_as_much_as_a_forward_pass_and_less_where_weights_are_frozen():
    cost = measure_cost(ViViTConfig(hidden_size=24, num_heads=2), clip_shape=(4, 32, 32), heads={"label": 3})
    assert cost.training(cost.parameters) == 3 * cost.multiply_adds
    assert cost.training(0) == cost.multiply_adds
