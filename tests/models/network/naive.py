"""The family and its attention rollout in NumPy, as plainly as can be: whole matrices, one clip, nothing of ours."""

import keras
import numpy as np

from models.network.vivit import weights_by_name


class NaiveNetwork:
    """A network on all tokens [N, D] of one clip, each attention as one matrix [N, N], zero where it does not reach.

    Args:
      model: Of `build_vivit`, with two heads of attention.
      config: Its configuration, with learned positions and a classifier of "token", "0" or "gap".
      grid: Its tubelets (t, h, w).
    """

    def __init__(self, model, config, grid):
        self.weights = {name: weight.numpy() for name, weight in weights_by_name(model).items()}
        self.config = config
        self.grid, self.frames, self.space = grid, grid[0], grid[1] * grid[2]
        self.embed = keras.Model(model.input, model.get_layer("embedding").output)

    def rollout(self, clip):
        """Features [D], and the rollout [t, h, w]."""
        tokens = self.embed(clip[None])[0].numpy()
        if self.config.variant == "factorized_encoder":
            features, row = self._factorized_encoder(tokens)
        else:
            features, row = self._single_encoder(tokens.reshape(-1, tokens.shape[-1]))
        return features, row.reshape(self.grid) / row.sum()

    def _single_encoder(self, tokens):
        frame, place = (index.ravel() for index in np.indices((self.frames, self.space)))
        same_place, same_frame = place[:, None] == place, frame[:, None] == frame
        masks = {
            "spacetime": [("_0", [True, True])],
            "factorized_self_attention": [
                (f"_{axis}", [{"time": same_place, "space": same_frame}[axis]] * 2)
                for axis in self.config.attention_order.split("_")
            ],
            "factorized_dot_product": [("_0", [same_place, same_frame])],
        }[self.config.variant]
        tokens, classes = self._with_class_token("cls", tokens)
        tokens, matrix = self._encode("Transformer", tokens, self.config.num_layers, masks)
        pool = self._pool(len(tokens))
        return pool @ tokens, (pool @ matrix)[classes:]

    def _factorized_encoder(self, tokens):
        frames = [self._with_class_token("cls_SpatialTransformer", frame)[0] for frame in tokens]
        length = len(frames[0])
        frame = np.repeat(np.arange(self.frames), length)
        mask = frame[:, None] == frame
        tokens, matrix = self._encode(
            "SpatialTransformer", np.concatenate(frames), self.config.num_layers, [("_0", [mask, mask])]
        )
        pool = np.kron(np.eye(self.frames), self._pool(length))
        tokens, matrix = pool @ tokens, pool @ matrix
        if self.config.temporal_layers:
            tokens, classes = self._with_class_token("cls_TemporalTransformer", tokens)
            matrix = np.pad(matrix, [(classes, 0), (0, 0)])
            tokens, over_time = self._encode(
                "TemporalTransformer", tokens, self.config.temporal_layers, [("_0", [True, True])]
            )
            tokens, row = self._pool(len(tokens)) @ tokens, self._pool(len(tokens)) @ over_time @ matrix
        else:
            tokens, row = tokens.mean(axis=0), matrix.mean(axis=0)
        return tokens, row.reshape(self.frames, length)[:, length - self.space :]

    def _with_class_token(self, name, tokens):
        if self.config.classifier != "token":
            return tokens, 0
        return np.concatenate([self.weights[name][0], tokens]), 1

    def _pool(self, length):
        return np.full(length, 1 / length) if self.config.classifier == "gap" else np.eye(length)[0]

    def _encode(self, name, tokens, layers, masks):
        """Tokens after an encoder, and the product of the matrices of its attentions."""
        positions = self.weights[f"{name}/posembed_input/pos_embedding"][0]
        tokens = tokens + np.tile(positions, (len(tokens) // len(positions), 1))
        product = np.eye(len(tokens))
        for layer in range(layers):
            block = f"{name}/encoderblock_{layer}"
            for suffix, head_masks in masks:
                normed = self._norm(f"{block}/LayerNorm{suffix}", tokens)
                attended, weights = self._attend(f"{block}/MultiHeadDotProductAttention{suffix}", normed, head_masks)
                tokens = tokens + attended
                product = (np.eye(len(tokens)) + weights) / 2 @ product
            names = {"_0": ("LayerNorm_1", "MlpBlock_0")}.get(masks[0][0], ("LayerNorm_mlp", "MlpBlock"))
            tokens = tokens + self._mlp(f"{block}/{names[1]}", self._norm(f"{block}/{names[0]}", tokens))
        return self._norm(f"{name}/encoder_norm", tokens), product

    def _norm(self, name, tokens):
        centred = tokens - tokens.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(tokens.var(axis=-1, keepdims=True) + 1e-6)
        return scaled * self.weights[f"{name}/scale"] + self.weights[f"{name}/bias"]

    def _mlp(self, name, tokens):
        hidden = tokens @ self.weights[f"{name}/Dense_0/kernel"] + self.weights[f"{name}/Dense_0/bias"]
        hidden = hidden / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
        return hidden @ self.weights[f"{name}/Dense_1/kernel"] + self.weights[f"{name}/Dense_1/bias"]

    def _attend(self, name, tokens, head_masks):
        """What attention brings, and the mean over heads of its weights; half of the heads to each mask."""
        query, key, value = (
            np.einsum("nd,dhk->hnk", tokens, self.weights[f"{name}/{part}/kernel"])
            + self.weights[f"{name}/{part}/bias"][:, None]
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
        exponents = np.exp(scores) * np.array([np.broadcast_to(mask, scores.shape[1:]) for mask in head_masks])
        weights = exponents / exponents.sum(axis=-1, keepdims=True)
        out = np.einsum("hnk,hkd->nd", weights @ value, self.weights[f"{name}/out/kernel"])
        return out + self.weights[f"{name}/out/bias"], weights.mean(axis=0)
