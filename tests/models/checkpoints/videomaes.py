"""VideoMAE and UMT with random weights: what they compute in NumPy, and how the files that people share name them."""

import numpy as np
from scipy import special

from models.checkpoints.normalisation import IMAGENET

WIDTH, HEADS, LAYERS, HIDDEN, PATCH, CLASSES = 128, 2, 2, 96, 4, 3
CLIP_SHAPE = (4, 12, 16)
CLIPS = np.random.RandomState(7).uniform(-1, 1, (2, *CLIP_SHAPE, 3)).astype(np.float32)
DENSE = {"query": (WIDTH, WIDTH), "key": (WIDTH, WIDTH), "value": (WIDTH, WIDTH), "out": (WIDTH, WIDTH)}
DENSE |= {"widen": (WIDTH, HIDDEN), "narrow": (HIDDEN, WIDTH)}


def videomae(frames=2, fine_tuned=True, layer_scale=False):
    """Weights by plain names: dense kernels [in, out], the tubelet kernel [t, h, w, C, D]; keys have no bias.

    Fine-tuned, there is a normalisation of the mean and a head, else a normalisation of all tokens.
    """
    random = np.random.RandomState(frames)

    def draw(*shape, around=0.0, deviation=0.1):
        return (around + deviation * random.randn(*shape)).astype(np.float32)

    weights = {"tubelet/kernel": draw(frames, PATCH, PATCH, 3, WIDTH), "tubelet/bias": draw(WIDTH)}
    norms = ["norm_of_mean" if fine_tuned else "norm", *(f"{n}/norm{k}" for n in range(LAYERS) for k in (1, 2))]
    for norm in norms:
        weights |= {f"{norm}/scale": draw(WIDTH, around=1.0), f"{norm}/bias": draw(WIDTH)}
    for layer in range(LAYERS):
        for name, shape in DENSE.items():
            weights |= {f"{layer}/{name}/kernel": draw(*shape)}
            weights |= {f"{layer}/{name}/bias": draw(shape[1])} if name != "key" else {}
        if layer_scale:
            weights |= {f"{layer}/scale1": draw(WIDTH), f"{layer}/scale2": draw(WIDTH, around=0.3)}
    if fine_tuned:
        weights |= {"head/kernel": draw(WIDTH, CLASSES), "head/bias": draw(CLASSES)}
    return weights


def outputs(weights, clips, *, epsilon=1e-6, epsilon_of_mean=1e-6):
    """Logits [B, K] of fine-tuned weights, else tokens [B, N, D], of clips [B, T, H, W, 3] in [-1, 1]."""
    mean, std = (np.array(values) for values in IMAGENET)
    pixels = ((clips.astype(np.float64) + 1) / 2 - mean) / std
    frames = len(weights["tubelet/kernel"])
    times, rows, columns = clips.shape[1] // frames, clips.shape[2] // PATCH, clips.shape[3] // PATCH
    tubelets = pixels.reshape(-1, times, frames, rows, PATCH, columns, PATCH, 3)
    tokens = np.einsum("btirjckx,ijkxd->btrcd", tubelets, weights["tubelet/kernel"].astype(np.float64))
    tokens = tokens.reshape(len(clips), -1, WIDTH) + weights["tubelet/bias"]
    angles = np.arange(tokens.shape[1])[:, None] / 10_000 ** (np.arange(0, WIDTH, 2) / WIDTH)
    tokens = tokens + np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(-1, WIDTH)

    tokens = encode(weights, "", LAYERS, tokens, epsilon)
    if "head/kernel" not in weights:
        return norm(weights, "norm", tokens, epsilon)
    return dense(weights, "head", norm(weights, "norm_of_mean", tokens.mean(axis=1), epsilon_of_mean))


def norm(weights, name, x, epsilon=1e-6):
    """Layer normalisation."""
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
    return scaled * weights[f"{name}/scale"] + weights[f"{name}/bias"]


def dense(weights, name, x):
    """A dense layer, whose bias may be missing."""
    return x @ weights[f"{name}/kernel"] + weights.get(f"{name}/bias", 0)


def encode(weights, prefix, layers, tokens, epsilon=1e-6, cap=None):
    """Blocks of a transformer on tokens [..., N, D], named by a prefix and their number."""

    def heads(x):
        return x.reshape(*x.shape[:-1], HEADS, -1).swapaxes(-2, -3)

    for layer in (f"{prefix}{number}" for number in range(layers)):
        normed = norm(weights, f"{layer}/norm1", tokens, epsilon)
        query, key, value = (heads(dense(weights, f"{layer}/{part}", normed)) for part in ("query", "key", "value"))
        logits = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
        attention = special.softmax(logits if cap is None else cap * np.tanh(logits / cap), axis=-1)
        attended = (attention @ value).swapaxes(-2, -3).reshape(tokens.shape)
        tokens = tokens + dense(weights, f"{layer}/out", attended) * weights.get(f"{layer}/scale1", 1.0)
        hidden = dense(weights, f"{layer}/widen", norm(weights, f"{layer}/norm2", tokens, epsilon))
        narrowed = dense(weights, f"{layer}/narrow", hidden * special.ndtr(hidden))
        tokens = tokens + narrowed * weights.get(f"{layer}/scale2", 1.0)
    return tokens


def tensors_of(names, weights):
    """Weights by PyTorch's names: kernels have outputs first."""
    tensors = {}
    for ours, theirs in names.items():
        for part in ("kernel", "scale", "bias"):
            if (array := weights.get(f"{ours}/{part}")) is not None:
                turned = np.moveaxis(array, (-1, -2), (0, 1)) if part == "kernel" else array
                tensors[f"{theirs}.{'bias' if part == 'bias' else 'weight'}"] = np.ascontiguousarray(turned)
    return tensors


def own(weights, prefix=""):
    """Under the names of VideoMAE's and UMT's own repositories."""
    names = {"norm1": "norm1", "out": "attn.proj", "norm2": "norm2", "widen": "mlp.fc1", "narrow": "mlp.fc2"}
    names = {f"{n}/{ours}": f"blocks.{n}.{theirs}" for ours, theirs in names.items() for n in range(LAYERS)}
    names |= {"tubelet": "patch_embed.proj", "norm": "norm", "norm_of_mean": "fc_norm", "head": "head"}
    tensors = tensors_of(names, weights)
    for layer in range(LAYERS):
        joined = np.concatenate([weights[f"{layer}/{part}/kernel"] for part in ("query", "key", "value")], axis=1)
        tensors[f"blocks.{layer}.attn.qkv.weight"] = np.ascontiguousarray(joined.T)
        tensors[f"blocks.{layer}.attn.q_bias"] = weights[f"{layer}/query/bias"]
        tensors[f"blocks.{layer}.attn.v_bias"] = weights[f"{layer}/value/bias"]
        for scale in (1, 2):
            if f"{layer}/scale{scale}" in weights:
                tensors[f"blocks.{layer}.gamma_{scale}"] = weights[f"{layer}/scale{scale}"]
    return {prefix + name: tensor for name, tensor in tensors.items()}


def hugging_face(weights):
    """Under the names of Hugging Face's VideoMAEForVideoClassification, or of its VideoMAEForPreTraining's encoder."""
    names = {"norm1": "layernorm_before", "out": "attention.output.dense", "norm2": "layernorm_after"}
    names |= {"widen": "intermediate.dense", "narrow": "output.dense"}
    names = {
        f"{n}/{ours}": f"videomae.encoder.layer.{n}.{theirs}" for ours, theirs in names.items() for n in range(LAYERS)
    }
    names |= {"tubelet": "videomae.embeddings.patch_embeddings.projection", "norm": "videomae.layernorm"}
    tensors = tensors_of(names | {"norm_of_mean": "fc_norm", "head": "classifier"}, weights)
    for layer in range(LAYERS):
        attention = f"videomae.encoder.layer.{layer}.attention.attention"
        for part in ("query", "key", "value"):
            tensors[f"{attention}.{part}.weight"] = np.ascontiguousarray(weights[f"{layer}/{part}/kernel"].T)
        tensors[f"{attention}.q_bias"] = weights[f"{layer}/query/bias"]
        tensors[f"{attention}.v_bias"] = weights[f"{layer}/value/bias"]
    return tensors
