"""Resizing of position embeddings, as the networks that they come from do it at other sizes."""

from __future__ import annotations

import math

import numpy as np


def resize_bicubic(
    table: np.ndarray, source: tuple[int, int], target: tuple[int, int], *, antialias: bool
) -> np.ndarray:
    """Cubic convolution (Keys 1981) of a table [rows * columns, D] to another grid, by the centres of the cells.

    The numbers are those of ``torch.nn.functional.interpolate`` with mode "bicubic" and align_corners False.

    Args:
      table: float32.
      source, target: (rows, columns) before and after.
      antialias: Whether the filter widens where the grid shrinks.

    Raises:
      ValueError: Where the table has another length.
    """
    over_rows, over_columns = (_matrix(*sizes, antialias) for sizes in zip(source, target, strict=True))
    return _resize(table, source, target, over_rows, over_columns)


def resize_bilinear(table: np.ndarray, source: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
    """Linear interpolation of a table [rows * columns, D] to another grid, by the centres of the cells.

    The filter widens where the grid shrinks. The numbers are those of ``jax.image.resize`` with method "bilinear", and
    of ``torch.nn.functional.interpolate`` with mode "bilinear" and antialias.

    Args:
      table: float32.
      source, target: (rows, columns) before and after.

    Raises:
      ValueError: Where the table has another length.
    """
    over_rows, over_columns = (_triangles(*sizes) for sizes in zip(source, target, strict=True))
    return _resize(table, source, target, over_rows, over_columns)


def _resize(table, source, target, over_rows, over_columns):
    if math.prod(source) != len(table):
        raise ValueError(f"source_grid: given {source}, the source has {len(table)} position embeddings")
    cells = table.reshape(*source, -1).astype(np.float64)
    resized = np.einsum("ri,cj,ijd->rcd", over_rows, over_columns, cells, optimize=True)
    return resized.reshape(math.prod(target), -1).astype(table.dtype)


def _triangles(source: int, target: int) -> np.ndarray:
    """What each of `target` cells takes of each of `source`, [target, source], by distance."""
    centres = (np.arange(target)[:, None] + 0.5) * source / target - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(source) - centres) / max(source / target, 1))
    return weights / weights.sum(axis=1, keepdims=True)


def _matrix(source: int, target: int, antialias: bool) -> np.ndarray:
    """What each of `target` cells takes of each of `source`, [target, source]."""
    centres = (np.arange(target)[:, None] + 0.5) * source / target - 0.5
    if antialias:
        weights = _cubic((np.arange(source) - centres) / max(source / target, 1), -0.5)
        return weights / weights.sum(axis=1, keepdims=True)
    taps = np.floor(centres).astype(int) + np.arange(-1, 3)
    matrix = np.zeros((target, source))
    # Taps beyond an edge take the cell at the edge.
    np.add.at(matrix, (np.arange(target)[:, None], taps.clip(0, source - 1)), _cubic(taps - centres, -0.75))
    return matrix


def _cubic(distance: np.ndarray, slope: float) -> np.ndarray:
    """The filter of Keys, with its slope at a distance of 1."""
    x = np.abs(distance)
    near = ((slope + 2) * x - (slope + 3)) * x**2 + 1
    far = slope * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
