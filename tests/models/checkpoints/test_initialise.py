"""Fitting the weights of one network to another, beyond the golden cases that `benchmarks.parity.networks` runs."""

import dataclasses

import numpy as np
import pytest

from models.checkpoints.initialise import InitOptions, inflate, initialise, initialise_model, zoom
from models.checkpoints.readers import Checkpoint
from models.network.vivit import ViViTConfig, build_vivit, weights_by_name

CLIP_SHAPE = (4, 16, 16)
WIDTH = 8
FACTORIZED = ViViTConfig(tubelet=(2, 8, 8), hidden_size=WIDTH, num_layers=2, temporal_layers=1, num_heads=2, mlp_dim=16)
SPACETIME = dataclasses.replace(FACTORIZED, variant="spacetime")
SELF_ATTENTION = dataclasses.replace(FACTORIZED, variant="factorized_self_attention", classifier="gap")


def network(config, clip_shape=CLIP_SHAPE, classes=3):
    return build_vivit(config, clip_shape=clip_shape, heads={"label": classes})


def drawn(config, clip_shape=CLIP_SHAPE, classes=3):
    """Random weights of a network, none of them zero."""
    random = np.random.RandomState(0)
    shapes = {
        name: tuple(weight.shape) for name, weight in weights_by_name(network(config, clip_shape, classes)).items()
    }
    return {name: random.randn(*shape).astype(np.float32) for name, shape in shapes.items()}


def image_vit(rows=2, columns=2, class_token=True):
    """An image ViT of two blocks: a model 1 without time."""
    size = (1, 8 * rows, 8 * columns)
    config = dataclasses.replace(SPACETIME, tubelet=(1, 8, 8), classifier="token" if class_token else "gap")
    parameters = drawn(config, size, classes=11)
    parameters["embedding/kernel"] = parameters["embedding/kernel"][0]
    return Checkpoint("vit", "scenic", parameters)


def positions(name, weights):
    return weights[f"{name}/posembed_input/pos_embedding"]


class TestInflation:
    kernel = np.random.RandomState(0).randn(2, 2, 3, 4).astype(np.float32)

    def test_central_frame_is_zero_but_in_the_middle(self):
        inflated = inflate(self.kernel, 4, "central_frame")
        np.testing.assert_array_equal(inflated[2], self.kernel)
        assert not np.any(inflated[[0, 1, 3]])

    def test_average_frame_sums_to_the_kernel(self):
        inflated = inflate(self.kernel, 4, "average_frame")
        np.testing.assert_allclose(inflated.sum(0), self.kernel, rtol=1e-6)
        np.testing.assert_array_equal(inflated[0], inflated[3])

    def test_harmonic_weights_are_those_of_approximate_rank_pooling(self):
        # 2 (T - t + 1) - (T + 1) (H_T - H_{t-1}) for T = 3: H = 0, 1, 3/2, 11/6.
        weights = np.array([6 - 4 * 11 / 6, 4 - 4 * 5 / 6, 2 - 4 * 2 / 6]) / 3
        expected = weights[:, None, None, None, None] * self.kernel
        np.testing.assert_allclose(inflate(self.kernel, 3, "harmonic"), expected, rtol=1e-6)


class TestZoom:
    def test_keeps_the_corners(self):
        table = np.random.RandomState(0).randn(4, 5).astype(np.float32)
        zoomed = zoom(table, (2, 2), (3, 5)).reshape(3, 5, 5)
        corners = zoomed[[0, 0, -1, -1], [0, -1, 0, -1]]
        np.testing.assert_allclose(corners, table, atol=1e-6)

    def test_is_linear_between(self):
        table = np.array([[0.0], [1.0], [4.0]], np.float32)
        np.testing.assert_allclose(zoom(table, (3,), (5,))[:, 0], [0, 0.5, 1, 2.5, 4], atol=1e-6)


class TestFromAnImageViT:
    def test_the_report_lists_the_outcome_for_every_weight(self):
        fresh = drawn(FACTORIZED)
        result, report = initialise(fresh, image_vit(), FACTORIZED, CLIP_SHAPE, InitOptions())
        assert set(report.loaded) | set(report.initialised) | set(report.missing) == set(fresh)
        assert {name.split("/")[0] for name in report.initialised} == {
            "TemporalTransformer",
            "cls_SpatialTransformer",
            "cls_TemporalTransformer",
            "output_projection",
        }
        assert report.missing == ()
        assert report.unexpected == ("cls",)
        assert report.loaded["embedding/kernel"] == "inflated by central_frame"
        for name in report.initialised:
            np.testing.assert_array_equal(result[name], fresh[name])
        assert "inflated by central_frame" in str(report)

    def test_blocks_that_the_source_lacks_are_missing_and_those_too_many_unexpected(self):
        deep = dataclasses.replace(FACTORIZED, num_layers=3)
        options = InitOptions(allow_missing=("*/encoderblock_2/*",))
        _, report = initialise(drawn(deep), image_vit(), deep, CLIP_SHAPE, options)
        assert {name.split("/")[1] for name in report.missing} == {"encoderblock_2"}
        shallow = dataclasses.replace(FACTORIZED, num_layers=1)
        _, report = initialise(drawn(shallow), image_vit(), shallow, CLIP_SHAPE, InitOptions())
        assert {name.split("/")[1] for name in report.unexpected if "/" in name} == {"encoderblock_1"}

    def test_tiled_positions_are_the_images_in_each_frame(self):
        source, fresh = image_vit(), drawn(SPACETIME)
        result, _ = initialise(fresh, source, SPACETIME, CLIP_SHAPE, InitOptions())
        image = positions("Transformer", source.parameters)
        expected = np.concatenate([image[:, :1], image[:, 1:], image[:, 1:]], axis=1)
        np.testing.assert_array_equal(positions("Transformer", result), expected)

    def test_the_class_tokens_position_stays_fresh_where_the_source_has_none(self):
        fresh = drawn(SPACETIME)
        result, _ = initialise(fresh, image_vit(class_token=False), SPACETIME, CLIP_SHAPE, InitOptions())
        np.testing.assert_array_equal(positions("Transformer", result)[:, 0], positions("Transformer", fresh)[:, 0])

    def test_the_class_tokens_position_is_dropped_where_the_network_has_none(self):
        config, source = dataclasses.replace(SPACETIME, classifier="gap"), image_vit()
        result, report = initialise(drawn(config), source, config, CLIP_SHAPE, InitOptions())
        image = positions("Transformer", source.parameters)
        np.testing.assert_array_equal(positions("Transformer", result), np.tile(image[:, 1:], (1, 2, 1)))
        assert "cls" in report.unexpected

    @pytest.mark.parametrize("fit", ["resize", "resize_tile"])
    def test_square_positions_are_stretched_to_a_rectangle(self, fit):
        source, wide = image_vit(), (4, 16, 32)
        options = InitOptions(positions=fit)
        result, _ = initialise(drawn(FACTORIZED, wide), source, FACTORIZED, wide, options)
        image = positions("Transformer", source.parameters)
        frame = positions("SpatialTransformer", result)[0, 1:].reshape(2, 4, WIDTH)
        corners = frame[[0, 0, -1, -1], [0, -1, 0, -1]]
        np.testing.assert_allclose(corners, image[0, 1:], atol=1e-6)

    def test_a_rectangular_source_is_resized_by_the_grid_it_is_given(self):
        source, options = image_vit(rows=1, columns=2), InitOptions(positions="resize", source_grid=(1, 1, 2))
        result, _ = initialise(drawn(FACTORIZED), source, FACTORIZED, CLIP_SHAPE, options)
        image = positions("Transformer", source.parameters)
        frame = positions("SpatialTransformer", result)[0, 1:].reshape(2, 2, WIDTH)
        np.testing.assert_allclose(frame[0], image[0, 1:], atol=1e-6)
        with pytest.raises(ValueError, match="source_grid"):
            initialise(drawn(FACTORIZED), source, FACTORIZED, CLIP_SHAPE, InitOptions(positions="resize"))

    def test_model_3_takes_attention_twice_or_leaves_time_fresh(self):
        source, fresh = image_vit(), drawn(SELF_ATTENTION)
        image = source.parameters["Transformer/encoderblock_0/MultiHeadDotProductAttention_0/query/kernel"]
        over_time = "Transformer/encoderblock_0/MultiHeadDotProductAttention_time/query/kernel"
        result, report = initialise(fresh, source, SELF_ATTENTION, CLIP_SHAPE, InitOptions())
        np.testing.assert_array_equal(result[over_time], image)
        np.testing.assert_array_equal(result[over_time.replace("time", "space")], image)
        assert "Transformer/encoderblock_0/LayerNorm_time/scale" in report.initialised
        options = InitOptions(temporal_attention=False)
        result, report = initialise(fresh, source, SELF_ATTENTION, CLIP_SHAPE, options)
        np.testing.assert_array_equal(result[over_time], fresh[over_time])
        assert over_time in report.initialised

    @pytest.mark.parametrize(
        ("options", "kept"),
        [
            (InitOptions(restore_positions=False), "SpatialTransformer/posembed_input/pos_embedding"),
            (InitOptions(restore_embedding=False), "embedding/kernel"),
        ],
    )
    def test_what_the_options_leave_out_stays_fresh(self, options, kept):
        fresh = drawn(FACTORIZED)
        result, report = initialise(fresh, image_vit(), FACTORIZED, CLIP_SHAPE, options)
        np.testing.assert_array_equal(result[kept], fresh[kept])
        assert kept in report.initialised


class TestWhatIsMissing:
    NAME = "SpatialTransformer/posembed_input/pos_embedding"

    def source(self):
        parameters = dict(image_vit().parameters)
        del parameters["Transformer/posembed_input/pos_embedding"]
        return Checkpoint("vit", "scenic", parameters)

    def test_is_an_error_that_names_it(self):
        with pytest.raises(ValueError, match=f"vit: it has nothing for 1 weights of the network: {self.NAME}"):
            initialise(drawn(FACTORIZED), self.source(), FACTORIZED, CLIP_SHAPE, InitOptions())

    def test_may_be_allowed(self):
        fresh, options = drawn(FACTORIZED), InitOptions(allow_missing=("*/pos_embedding",))
        result, report = initialise(fresh, self.source(), FACTORIZED, CLIP_SHAPE, options)
        assert report.missing == (self.NAME,)
        np.testing.assert_array_equal(result[self.NAME], fresh[self.NAME])

    def test_of_a_head_is_allowed(self):
        config = dataclasses.replace(FACTORIZED, representation_size=4)
        _, report = initialise(drawn(config), image_vit(), config, CLIP_SHAPE, InitOptions())
        assert report.missing == ("pre_logits/kernel", "pre_logits/bias")


class TestFromAnotherViViT:
    def test_more_frames_interpolate_the_temporal_encoders_positions(self):
        longer = (8, 16, 16)
        source = Checkpoint("vivit", "scenic", drawn(FACTORIZED))
        result, report = initialise(drawn(FACTORIZED, longer), source, FACTORIZED, longer, InitOptions())
        given, fitted = (positions("TemporalTransformer", weights)[0] for weights in (source.parameters, result))
        assert given.shape[0] == 1 + 2
        np.testing.assert_array_equal(fitted[0], given[0])
        np.testing.assert_allclose(fitted[1:], zoom(given[1:], (2,), (4,)), atol=1e-6)
        assert not report.unexpected
        assert set(report.initialised) == {"output_projection/kernel", "output_projection/bias"}

    def test_positions_in_time_and_space_are_interpolated_between_grids(self):
        larger = (8, 24, 40)
        source = Checkpoint("vivit", "scenic", drawn(SPACETIME))
        options = InitOptions(positions="interpolate", source_grid=(2, 2, 2))
        result, _ = initialise(drawn(SPACETIME, larger), source, SPACETIME, larger, options)
        given = positions("Transformer", source.parameters)[0, 1:].reshape(2, 2, 2, WIDTH)
        fitted = positions("Transformer", result)[0, 1:].reshape(4, 3, 5, WIDTH)
        np.testing.assert_allclose(fitted[::3, ::2, ::4], given, atol=1e-6)

    def test_a_grid_that_the_source_has_not_is_refused(self):
        larger, source = (8, 24, 40), Checkpoint("vivit", "scenic", drawn(SPACETIME))
        options = InitOptions(positions="interpolate", source_grid=(2, 3, 2))
        with pytest.raises(ValueError, match=r"source_grid: given \(2, 3, 2\), the source has 8"):
            initialise(drawn(SPACETIME, larger), source, SPACETIME, larger, options)

    def test_the_head_is_new_unless_requested(self):
        source, fresh = Checkpoint("vivit", "scenic", drawn(FACTORIZED)), drawn(FACTORIZED, classes=5)
        result, _ = initialise(fresh, source, FACTORIZED, CLIP_SHAPE, InitOptions())
        np.testing.assert_array_equal(result["output_projection/kernel"], fresh["output_projection/kernel"])
        with pytest.raises(ValueError, match=r"output_projection/kernel.*\(8, 3\).*\(8, 5\)"):
            initialise(fresh, source, FACTORIZED, CLIP_SHAPE, InitOptions(restore_head=True))


class TestMisfits:
    def test_another_width_names_the_weight_and_both_shapes(self):
        wide = dataclasses.replace(FACTORIZED, hidden_size=16)
        with pytest.raises(ValueError, match=r"embedding/kernel.*\(8, 8, 3, 8\).*\(2, 8, 8, 3, 16\)"):
            initialise(drawn(wide), image_vit(), wide, CLIP_SHAPE, InitOptions())

    def test_tiles_that_do_not_fill_the_network_are_refused(self):
        with pytest.raises(ValueError, match="tiled 1 times"):
            initialise(drawn(FACTORIZED, (4, 16, 24)), image_vit(), FACTORIZED, (4, 16, 24), InitOptions("tile"))

    def test_a_source_without_a_fitting_block_is_refused(self):
        source = Checkpoint("vivit", "scenic", drawn(SELF_ATTENTION))
        with pytest.raises(ValueError, match="no encoder block fits spacetime"):
            initialise(drawn(SPACETIME), source, SPACETIME, CLIP_SHAPE, InitOptions(restore_positions=False))

    def test_leave_the_network_as_it_was(self):
        model = network(FACTORIZED, (4, 16, 24))
        before = model.get_weights()
        with pytest.raises(ValueError, match="tiled"):
            initialise_model(model, image_vit(), FACTORIZED, (4, 16, 24), InitOptions("tile"))
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"positions": "stretch"}, "InitOptions.positions: given 'stretch', allowed is one of auto"),
            ({"source_classifier": "cls"}, "InitOptions.source_classifier: given 'cls', allowed is one of None, token"),
            ({"inflation": "sum"}, "InitOptions.inflation: given 'sum', allowed is one of central_frame"),
            ({"normalisation": "clip"}, "InitOptions.normalisation: given 'clip', allowed is one of auto"),
            ({"positions": "interpolate"}, "InitOptions.source_grid"),
        ],
    )
    def test_options_that_are_not_allowed_are_named(self, given, message):
        with pytest.raises(ValueError, match=message):
            InitOptions(**given)


def test_a_network_has_the_fitted_weights():
    model, source = network(FACTORIZED), image_vit()
    report = initialise_model(model, source, FACTORIZED, CLIP_SHAPE, InitOptions())
    weights = weights_by_name(model)
    assert report.loaded
    name = "encoderblock_1/MlpBlock_0/Dense_1/kernel"
    np.testing.assert_array_equal(weights[f"SpatialTransformer/{name}"], source.parameters[f"Transformer/{name}"])
