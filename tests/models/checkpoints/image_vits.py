"""Image ViTs with random weights: what they compute in NumPy, and how the files that people share name the weights."""

import json

import numpy as np
from scipy import special

from models.checkpoints.normalisation import HALF

WIDTH, HEADS, LAYERS, HIDDEN, PATCH, GRID = 128, 2, 2, 96, 4, 3
SIDE = PATCH * GRID
IMAGES = np.random.RandomState(7).uniform(-1, 1, (2, SIDE, SIDE, 3)).astype(np.float32)
DENSE = {"query": (WIDTH, WIDTH), "key": (WIDTH, WIDTH), "value": (WIDTH, WIDTH), "out": (WIDTH, WIDTH)}
DENSE |= {"widen": (WIDTH, HIDDEN), "narrow": (HIDDEN, WIDTH)}


def image_vit(registers=0, layer_scale=True, class_position=True, register_positions=False):
    """Weights by plain names: dense kernels [in, out], the patch kernel [h, w, C, D]."""
    random = np.random.RandomState(registers + 10 * layer_scale)

    def draw(*shape, around=0.0, deviation=0.1):
        return (around + deviation * random.randn(*shape)).astype(np.float32)

    weights = {"class": draw(WIDTH, deviation=0.5), "patch/kernel": draw(PATCH, PATCH, 3, WIDTH)}
    weights["patch/bias"] = draw(WIDTH)
    # Of the patches, after those of the tokens before them that have one.
    weights["positions"] = draw(class_position + registers * register_positions + GRID**2, WIDTH, deviation=0.5)
    if registers:
        weights["registers"] = draw(registers, WIDTH, deviation=0.5)
    norms = ["norm", *(f"{layer}/{norm}" for layer in range(LAYERS) for norm in ("norm1", "norm2"))]
    for norm in norms:
        weights |= {f"{norm}/scale": draw(WIDTH, around=1.0), f"{norm}/bias": draw(WIDTH)}
    for layer in range(LAYERS):
        for name, shape in DENSE.items():
            weights |= {f"{layer}/{name}/kernel": draw(*shape), f"{layer}/{name}/bias": draw(shape[1])}
        if layer_scale:
            weights |= {f"{layer}/scale1": draw(WIDTH), f"{layer}/scale2": draw(WIDTH, around=0.3)}
    return weights


def features(weights, images, normalisation=HALF, *, epsilon=1e-6, gelu="exact"):
    """Class token and patches after the last normalisation, [B, 1 + N, D], of images [B, H, W, 3] in [-1, 1]."""
    mean, std = (np.array(values) for values in normalisation)
    pixels = ((images.astype(np.float64) + 1) / 2 - mean) / std
    rows, columns = (side // PATCH for side in images.shape[1:3])
    patches = pixels.reshape(-1, rows, PATCH, columns, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    patches = np.einsum("brcijk,ijkd->brcd", patches, weights["patch/kernel"]).reshape(len(images), -1, WIDTH)
    patches = patches + weights["patch/bias"]
    leading = np.concatenate([weights["class"][None], weights.get("registers", np.zeros((0, WIDTH)))])
    placed = len(weights["positions"]) - patches.shape[1]
    leading[:placed] += weights["positions"][:placed]
    leading = np.repeat(leading[None], len(images), axis=0)
    tokens = np.concatenate([leading, patches + weights["positions"][placed:]], axis=1)

    def norm(name, x):
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
        return scaled * weights[f"{name}/scale"] + weights[f"{name}/bias"]

    def dense(name, x):
        return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    def heads(x):
        return x.reshape(*x.shape[:-1], HEADS, -1).swapaxes(1, 2)

    for layer in map(str, range(LAYERS)):
        normed = norm(f"{layer}/norm1", tokens)
        query, key, value = (heads(dense(f"{layer}/{part}", normed)) for part in ("query", "key", "value"))
        attention = special.softmax(query @ key.swapaxes(-1, -2) / np.sqrt(WIDTH // HEADS), axis=-1)
        attended = dense(f"{layer}/out", (attention @ value).swapaxes(1, 2).reshape(tokens.shape))
        tokens = tokens + attended * weights.get(f"{layer}/scale1", 1.0)
        hidden = dense(f"{layer}/widen", norm(f"{layer}/norm2", tokens))
        if gelu == "exact":
            hidden = hidden * special.ndtr(hidden)
        else:
            hidden = hidden / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
        tokens = tokens + dense(f"{layer}/narrow", hidden) * weights.get(f"{layer}/scale2", 1.0)
    return np.delete(norm("norm", tokens), slice(1, 1 + len(weights.get("registers", []))), axis=1)


def _weight_and_bias(name, weights, ours):
    kernel = weights.get(f"{ours}/kernel", weights.get(f"{ours}/scale"))
    turned = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
    return {f"{name}.weight": turned, f"{name}.bias": weights[f"{ours}/bias"]}


def hugging_face(weights, prefix=""):
    """Under the names of Hugging Face's Dinov2Model where there is LayerScale, else of its ViTModel."""
    scaled = "0/scale1" in weights
    names = {"norm1": "norm1", "norm2": "norm2", "widen": "mlp.fc1", "narrow": "mlp.fc2"}
    if not scaled:
        names = {"norm1": "layernorm_before", "norm2": "layernorm_after"}
        names |= {"widen": "intermediate.dense", "narrow": "output.dense"}
    names |= {part: f"attention.attention.{part}" for part in ("query", "key", "value")}
    names["out"] = "attention.output.dense"
    tensors = {"embeddings.cls_token": weights["class"][None, None]}
    tensors["embeddings.position_embeddings"] = weights["positions"][None]
    if "registers" in weights:
        tensors["embeddings.register_tokens"] = weights["registers"][None]
    tensors |= _weight_and_bias("embeddings.patch_embeddings.projection", weights, "patch")
    tensors |= _weight_and_bias("layernorm", weights, "norm")
    for layer in range(LAYERS):
        for ours, theirs in names.items():
            tensors |= _weight_and_bias(f"encoder.layer.{layer}.{theirs}", weights, f"{layer}/{ours}")
        if scaled:
            tensors["embeddings.mask_token"] = np.zeros((1, WIDTH), np.float32)
            for scale in (1, 2):
                tensors[f"encoder.layer.{layer}.layer_scale{scale}.lambda1"] = weights[f"{layer}/scale{scale}"]
    return {prefix + name: tensor for name, tensor in tensors.items()}


def timm(weights, registers="reg_token"):
    """Under timm's names; DINOv2's own code has them too, but for `registers`, "register_tokens", and its mask."""
    names = {"norm1": "norm1", "out": "attn.proj", "norm2": "norm2", "widen": "mlp.fc1", "narrow": "mlp.fc2"}
    tensors = {"cls_token": weights["class"][None, None], "pos_embed": weights["positions"][None]}
    if "registers" in weights:
        tensors[registers] = weights["registers"][None]
    if registers == "register_tokens":
        tensors["mask_token"] = np.zeros((1, WIDTH), np.float32)
    tensors |= _weight_and_bias("patch_embed.proj", weights, "patch")
    tensors |= _weight_and_bias("norm", weights, "norm")
    for layer in range(LAYERS):
        for ours, theirs in names.items():
            tensors |= _weight_and_bias(f"blocks.{layer}.{theirs}", weights, f"{layer}/{ours}")
        parts = [_weight_and_bias("", weights, f"{layer}/{part}") for part in ("query", "key", "value")]
        for kind in (".weight", ".bias"):
            tensors[f"blocks.{layer}.attn.qkv{kind}"] = np.concatenate([part[kind] for part in parts])
        if f"{layer}/scale1" in weights:
            tensors |= {f"blocks.{layer}.ls{scale}.gamma": weights[f"{layer}/scale{scale}"] for scale in (1, 2)}
    return tensors


def big_vision(weights):
    """Under the names of current big_vision, without LayerScale."""
    names = {"norm1": "LayerNorm_0", "norm2": "LayerNorm_1", "widen": "MlpBlock_0/Dense_0"}
    names |= {"narrow": "MlpBlock_0/Dense_1"}
    arrays = {"cls": weights["class"][None, None], "pos_embedding": weights["positions"][None]}
    arrays |= {f"embedding/{part}": weights[f"patch/{part}"] for part in ("kernel", "bias")}
    arrays |= {f"Transformer/encoder_norm/{part}": weights[f"norm/{part}"] for part in ("scale", "bias")}
    for layer in range(LAYERS):
        block = f"Transformer/encoderblock_{layer}"
        for ours, theirs in names.items():
            for part in ("scale", "kernel", "bias"):
                if f"{layer}/{ours}/{part}" in weights:
                    arrays[f"{block}/{theirs}/{part}"] = weights[f"{layer}/{ours}/{part}"]
        attention = f"{block}/MultiHeadDotProductAttention_0"
        for part in ("query", "key", "value"):
            arrays[f"{attention}/{part}/kernel"] = weights[f"{layer}/{part}/kernel"].reshape(WIDTH, HEADS, -1)
            arrays[f"{attention}/{part}/bias"] = weights[f"{layer}/{part}/bias"].reshape(HEADS, -1)
        arrays[f"{attention}/out/kernel"] = weights[f"{layer}/out/kernel"].reshape(HEADS, -1, WIDTH)
        arrays[f"{attention}/out/bias"] = weights[f"{layer}/out/bias"]
    return {f"params/{name}": array for name, array in arrays.items()}


def write_safetensors(path, tensors, config=None, *, metadata=None, preprocessor=None):
    """Writes float32 tensors, and the settings files of Hugging Face beside them."""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, tensor in tensors.items():
        offsets = [len(data), len(data) + tensor.nbytes]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        data += tensor.tobytes()
    packed = json.dumps(header).encode()
    path.write_bytes(len(packed).to_bytes(8, "little") + packed + data)
    for name, settings in {"config.json": config, "preprocessor_config.json": preprocessor}.items():
        if settings is not None:
            path.with_name(name).write_text(json.dumps(settings))
    return path
