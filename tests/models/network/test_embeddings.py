"""Tubelets and positions."""

import keras
import numpy as np
import pytest

from models.network.embeddings import (
    PositionEmbedding,
    TubeletEmbedding,
    TubeletInitializer,
    sampled_frames,
    sinusoidal_1d,
    sinusoidal_3d,
)


def test_a_tubelet_embedding_is_a_convolution_whose_stride_is_its_kernel():
    clip = keras.random.normal((2, 5, 12, 17, 3), seed=0)
    embedding = TubeletEmbedding((2, 4, 8), 6)
    tokens = embedding(clip)
    convolved = keras.ops.conv(clip, embedding.kernel, strides=(2, 4, 8), padding="valid") + embedding.bias
    np.testing.assert_allclose(tokens, keras.ops.reshape(convolved, (2, 2, 3 * 2, 6)), atol=1e-5)


@pytest.mark.parametrize(
    ("num_frames", "count", "frames"),
    [(8, 4, [2, 3, 5, 6]), (10, 3, [2, 5, 8]), (4, 4, [0, 1, 2, 3]), (3, 8, [0, 1, 2])],
)
def test_sampled_frames_are_evenly_spaced_and_rounded_half_to_even(num_frames, count, frames):
    assert sampled_frames(num_frames, count).tolist() == frames


@pytest.mark.parametrize(
    ("kind", "nonzero"),
    [
        ("central_frame", np.s_[2:3, :, :]),
        ("central_column", np.s_[:, :, 2:3]),
    ],
)
def test_a_central_kernel_is_zero_elsewhere(kind, nonzero):
    kernel = np.array(TubeletInitializer(kind)((4, 5, 6, 3, 8)))
    assert np.all(kernel[nonzero])
    kernel[nonzero] = 0
    assert not np.any(kernel)


def test_an_average_kernel_is_the_same_in_every_frame():
    kernel = np.array(TubeletInitializer("average_frame")((4, 5, 6, 3, 8)))
    np.testing.assert_array_equal(kernel, np.broadcast_to(kernel[:1], kernel.shape))
    assert len(np.unique(kernel[0])) == kernel[0].size


def test_1d_waves_alternate_sine_and_cosine_of_the_index():
    table = sinusoidal_1d(5, 6)
    frequencies = 10_000.0 ** (-np.arange(0, 6, 2) / 6)
    np.testing.assert_allclose(table[3], np.stack([np.sin(3 * frequencies), np.cos(3 * frequencies)], 1).ravel(), 1e-6)


def test_3d_waves_give_a_sixth_of_the_width_to_each_wave_of_frame_column_and_row():
    table = sinusoidal_3d((2, 3, 4), 12).reshape(2, 3, 4, 12)
    frequencies = 10_000.0 ** (-np.arange(2) / 2)
    waves = [wave(position * frequencies) for position in (1, 3, 2) for wave in (np.sin, np.cos)]
    np.testing.assert_allclose(table[1, 2, 3], np.concatenate(waves), rtol=1e-6)


def test_3d_waves_want_a_width_that_six_divides():
    with pytest.raises(ValueError, match="6 divides, given 16"):
        sinusoidal_3d((2, 2, 2), 16)


def test_a_class_token_has_no_place_in_a_3d_grid():
    tokens = np.zeros((1, 9, 12), np.float32)
    placed = np.asarray(PositionEmbedding("sinusoidal_3d", (2, 2, 2))(tokens))
    assert not np.any(placed[:, 0])
    np.testing.assert_array_equal(placed[0, 1:], sinusoidal_3d((2, 2, 2), 12))


def test_without_positions_tokens_stay_as_they_are():
    tokens = np.ones((1, 9, 12), np.float32)
    np.testing.assert_array_equal(PositionEmbedding("none", (2, 2, 2))(tokens), tokens)
