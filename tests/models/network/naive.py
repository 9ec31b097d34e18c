"""The family and its attention rollout in NumPy, as plainly as can be: whole matrices, one clip, nothing of ours."""

import keras
import numpy as np
from scipy import special

from models.network.vivit import weights_by_name


class NaiveNetwork:
    """A network on all tokens [N, D] of one clip, each attention as one matrix [N, N], zero where it does not reach.

    Args:
      model: Of `build_vivit`, with two heads of attention.
      config: Its configuration, with learned positions and a classifier of "token", "0", "gap", "attention_pooler"
        or "attentive".
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
        features, row = self._head_sees(tokens, matrix)
        if self.config.fc_norm is not None:
            features = self._norm("fc_norm", features, self.config.fc_norm)
        return features, row[classes:]

    def _factorized_encoder(self, tokens):
        frames = [self._with_class_token("cls_SpatialTransformer", frame)[0] for frame in tokens]
        length = len(frames[0])
        frame = np.repeat(np.arange(self.frames), length)
        mask = frame[:, None] == frame
        tokens, matrix = self._encode(
            "SpatialTransformer", np.concatenate(frames), self.config.num_layers, [("_0", [mask, mask])]
        )
        if not self.config.spatial_pool:
            place = np.tile(np.arange(length), self.frames)
            # Time is the outer axis of the tokens, and positions repeat over the inner one.
            tokens, over_time = self._encode(
                "TemporalTransformer",
                tokens,
                self.config.temporal_layers,
                [("_0", [place[:, None] == place] * 2)],
                place_of=np.repeat(np.arange(self.frames), length),
            )
            return self._head_sees(tokens, over_time @ matrix)
        if self.config.classifier == "attentive":
            features, row = self._head_sees(tokens, matrix)
            return features, row.reshape(self.frames, length)[:, length - self.space :]
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
        if name not in self.weights:
            return tokens, 0
        return np.concatenate([self.weights[name][0], tokens]), 1

    def _head_sees(self, tokens, matrix):
        """Features [D] of all tokens, and the row of their shares."""
        if self.config.classifier == "attentive":
            scores = tokens @ self.weights["attentive/query"].T
            scores += np.repeat(self.weights["attentive/position"].T, len(tokens) // self.frames, axis=0)
            weights = (np.exp(scores) / np.exp(scores).sum(axis=0)).T
            times = weights.reshape(len(weights), self.frames, -1).sum(axis=-1)
            return np.concatenate([weights @ tokens, times], axis=1).ravel(), weights.mean(axis=0) @ matrix
        if self.config.classifier != "attention_pooler":
            pool = self._pool(len(tokens))
            return pool @ tokens, pool @ matrix
        tokens = np.concatenate([self.weights["pooler/probe"][0], tokens])
        reached = np.arange(len(tokens)) > 0
        pooled, weights = self._attend("pooler", tokens, [reached, reached], cap=None)
        return self._norm("pooler/LayerNorm_0", pooled[0]), weights[0, 1:] @ matrix

    def _pool(self, length):
        return np.full(length, 1 / length) if self.config.classifier == "gap" else np.eye(length)[0]

    def _encode(self, name, tokens, layers, masks, place_of=None):
        """Tokens after an encoder, and the product of the matrices of its attentions."""
        positions = self.weights[f"{name}/posembed_input/pos_embedding"][0]
        given, copies = len(tokens), len(tokens) // len(positions)
        tokens = tokens + (np.tile(positions, (copies, 1)) if place_of is None else positions[place_of])
        if f"{name}/registers" in self.weights:
            registers = self.weights[f"{name}/registers"][0]
            tokens = np.concatenate([tokens, np.tile(registers, (copies, 1))])
            copy = np.concatenate([np.repeat(np.arange(copies), len(part)) for part in (positions, registers)])
            masks = [("_0", [copy[:, None] == copy] * 2)]
        product = np.eye(len(tokens))
        for layer in range(layers):
            block = f"{name}/encoderblock_{layer}"
            for suffix, head_masks in masks:
                normed = self._norm(f"{block}/LayerNorm{suffix}", tokens)
                attention, cap = f"{block}/MultiHeadDotProductAttention{suffix}", self.config.attention_logit_cap
                attended, weights = self._attend(attention, normed, head_masks, cap)
                tokens = tokens + attended
                product = (np.eye(len(tokens)) + weights) / 2 @ product
            names = {"_0": ("LayerNorm_1", "MlpBlock_0")}.get(masks[0][0], ("LayerNorm_mlp", "MlpBlock"))
            tokens = tokens + self._mlp(f"{block}/{names[1]}", self._norm(f"{block}/{names[0]}", tokens))
        if self.config.fc_norm is None:
            tokens = self._norm(f"{name}/encoder_norm", tokens)
        return tokens[:given], product[:given, :given]

    def _norm(self, name, tokens, epsilon=None):
        centred = tokens - tokens.mean(axis=-1, keepdims=True)
        epsilon = self.config.layer_norm_epsilon if epsilon is None else epsilon
        scaled = centred / np.sqrt(tokens.var(axis=-1, keepdims=True) + epsilon)
        return scaled * self.weights[f"{name}/scale"] + self.weights[f"{name}/bias"]

    def _mlp(self, name, tokens):
        hidden = tokens @ self.weights[f"{name}/Dense_0/kernel"] + self.weights[f"{name}/Dense_0/bias"]
        if self.config.gelu == "exact":
            hidden = hidden * special.ndtr(hidden)
        else:
            hidden = hidden / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
        return hidden @ self.weights[f"{name}/Dense_1/kernel"] + self.weights[f"{name}/Dense_1/bias"]

    def _attend(self, name, tokens, head_masks, cap):
        """What attention brings, and the mean over heads of its weights; half of the heads to each mask."""
        query, key, value = (
            np.einsum("nd,dhk->hnk", tokens, self.weights[f"{name}/{part}/kernel"])
            + self.weights[f"{name}/{part}/bias"][:, None]
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
        scores = scores if cap is None else cap * np.tanh(scores / cap)
        exponents = np.exp(scores) * np.array([np.broadcast_to(mask, scores.shape[1:]) for mask in head_masks])
        weights = exponents / exponents.sum(axis=-1, keepdims=True)
        out = np.einsum("hnk,hkd->nd", weights @ value, self.weights[f"{name}/out/kernel"])
        return out + self.weights[f"{name}/out/bias"], weights.mean(axis=0)
