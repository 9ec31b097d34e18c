"""VideoPrism with random weights: what it computes in NumPy, and how the files that people share name its weights."""

import numpy as np
from scipy import special

from tests.models.checkpoints.videomaes import dense, encode, norm, tensors_of

WIDTH, HEADS, HIDDEN, PATCH, CLASSES = 32, 2, 48, 6, 3
SPATIAL, TEMPORAL = 2, 1
CLIP_SHAPE = FRAMES, _, _ = (3, 2 * PATCH, 2 * PATCH)
# Low, so that it bends the logits of these weights.
CAP = 2.0
CLIPS = np.random.RandomState(7).uniform(-1, 1, (2, *CLIP_SHAPE, 3)).astype(np.float32)
BLOCKS = [*(f"spatial{number}" for number in range(SPATIAL)), *(f"temporal{number}" for number in range(TEMPORAL))]
DENSE = {part: (WIDTH, WIDTH) for part in ("query", "key", "value", "out")}
DENSE |= {"widen": (WIDTH, HIDDEN), "narrow": (HIDDEN, WIDTH)}
POOLER = {part: (WIDTH, HIDDEN) for part in ("query", "key", "value")} | {"out": (HIDDEN, WIDTH)}


def videoprism(classifier=False):
    """Weights by plain names: dense kernels [in, out], the patch kernel [h, w, C, D]; scales as they multiply."""
    random = np.random.RandomState(3)

    def draw(*shape, around=0.0, deviation=0.3):
        return (around + deviation * random.randn(*shape)).astype(np.float32)

    weights = {"patch/kernel": draw(PATCH, PATCH, 3, WIDTH), "patch/bias": draw(WIDTH)}
    weights |= {"spatial_positions": draw(4, WIDTH), "temporal_positions": draw(FRAMES, WIDTH)}
    names = {f"{block}/{name}": shape for block in BLOCKS for name, shape in DENSE.items()}
    norms = ["spatial_norm", "temporal_norm", *(f"{block}/norm{k}" for block in BLOCKS for k in (1, 2))]
    if classifier:
        names |= {f"pooler/{name}": shape for name, shape in POOLER.items()} | {"head": (WIDTH, CLASSES)}
        norms.append("pooler/norm")
        weights |= {"pooler/scales": draw(HIDDEN // HEADS), "pooler/probe": draw(WIDTH)}
    for name, shape in names.items():
        weights |= {f"{name}/kernel": draw(*shape), f"{name}/bias": draw(shape[1])}
    for name in norms:
        weights |= {f"{name}/scale": draw(WIDTH, around=1.0), f"{name}/bias": draw(WIDTH)}
    return weights


def outputs(weights, clips, cap=CAP):
    """Logits [B, K] where there is a classifier, else tokens [B, T * N, D], of clips [B, T, H, W, 3] in [-1, 1]."""
    pixels = (clips.astype(np.float64) + 1) / 2
    batch, frames, rows, columns = len(clips), clips.shape[1], clips.shape[2] // PATCH, clips.shape[3] // PATCH
    patches = pixels.reshape(batch, frames, rows, PATCH, columns, PATCH, 3)
    tokens = np.einsum("btrickx,ikxd->btrcd", patches, weights["patch/kernel"].astype(np.float64))
    tokens = tokens.reshape(batch, frames, -1, WIDTH) + weights["patch/bias"] + weights["spatial_positions"]
    tokens = norm(weights, "spatial_norm", encode(weights, "spatial", SPATIAL, tokens, cap=cap))
    tokens = tokens.swapaxes(1, 2) + weights["temporal_positions"]
    tokens = norm(weights, "temporal_norm", encode(weights, "temporal", TEMPORAL, tokens, cap=cap))
    tokens = tokens.swapaxes(1, 2).reshape(batch, -1, WIDTH)
    if "head/kernel" not in weights:
        return tokens
    query, key, value = (
        dense(weights, f"pooler/{part}", x).reshape(*x.shape[:-1], HEADS, -1)
        for part, x in (("query", weights["pooler/probe"]), ("key", tokens), ("value", tokens))
    )
    query = query * np.log1p(np.exp(weights["pooler/scales"])) / np.log(2) / np.sqrt(HIDDEN // HEADS)
    attention = special.softmax(np.einsum("hk,bnhk->bhn", query, key), axis=-1)
    pooled = np.einsum("bhn,bnhk->bhk", attention, value).reshape(batch, HIDDEN)
    return dense(weights, "head", norm(weights, "pooler/norm", dense(weights, "pooler/out", pooled)))


def _with_one_subtracted_from_scales(weights):
    return {name: array - 1 if name.endswith("/scale") else array for name, array in weights.items()}


def flax(weights):
    """Under the names of google-deepmind/videoprism: an encoder's blocks are stacked, and scales have 1 subtracted."""
    weights = _with_one_subtracted_from_scales(weights)
    arrays = {"patch_projection/linear/kernel": weights["patch/kernel"].reshape(-1, WIDTH)}
    arrays["patch_projection/linear/bias"] = weights["patch/bias"]
    layers = {"norm1": "layer_norm", "norm2": "ff_layer/layer_norm"}
    layers |= {"widen": "ff_layer/ffn_layer1/linear", "narrow": "ff_layer/ffn_layer2/linear"}
    for part, count in (("spatial", SPATIAL), ("temporal", TEMPORAL)):
        stack = f"{part}_encoder/transformers_stack/x_layers"
        arrays[f"{part}_pos_emb/emb_var"] = weights[f"{part}_positions"]
        arrays |= {f"{part}_ln/{kind}": weights[f"{part}_norm/{kind}"] for kind in ("scale", "bias")}

        def stacked(name, part=part, count=count):
            return np.stack([weights[f"{part}{number}/{name}"] for number in range(count)])

        for ours, theirs in layers.items():
            for kind in ("bias", "scale" if "norm" in ours else "kernel"):
                arrays[f"{stack}/{theirs}/{kind}"] = stacked(f"{ours}/{kind}")
        for name in ("query", "key", "value"):
            arrays[f"{stack}/self_attention/{name}/w"] = stacked(f"{name}/kernel").reshape(count, WIDTH, HEADS, -1)
            arrays[f"{stack}/self_attention/{name}/b"] = stacked(f"{name}/bias").reshape(count, HEADS, -1)
        out = stacked("out/kernel").swapaxes(1, 2)
        arrays[f"{stack}/self_attention/post/w"] = np.ascontiguousarray(out).reshape(count, WIDTH, HEADS, -1)
        arrays[f"{stack}/self_attention/post/b"] = stacked("out/bias")
    return {f"params/{name}": array for name, array in arrays.items()}


def hugging_face(weights):
    """Under the names of Hugging Face's VideoPrismVisionModel, or its VideoPrismForVideoClassification."""
    prefix = "vision_model." if "head/kernel" in weights else ""
    weights = _with_one_subtracted_from_scales(weights)
    weights["patch/kernel"] = weights["patch/kernel"][None]
    attention = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "o_proj"}
    layers = {"norm1": "layernorm_before", "norm2": "layernorm_after", "widen": "mlp.fc1", "narrow": "mlp.fc2"}
    layers |= {ours: f"attention.{theirs}" for ours, theirs in attention.items()}
    names = {"patch": "spatial_embeddings.patch_embeddings.projection"}
    names |= {"spatial_norm": "layernorm1", "temporal_norm": "layernorm2"}
    for block in BLOCKS:
        path = f"{block[:-1]}_layers.{block[-1]}"
        names |= {f"{block}/{ours}": f"{path}.{theirs}" for ours, theirs in layers.items()}
    names = {ours: prefix + theirs for ours, theirs in names.items()}
    names |= {f"pooler/{ours}": f"head.{theirs}" for ours, theirs in attention.items()}
    tensors = tensors_of(names | {"pooler/norm": "head_layernorm", "head": "classifier"}, weights)
    for part in ("spatial", "temporal"):
        tensors[f"{prefix}{part}_embeddings.position_embeddings"] = weights[f"{part}_positions"][None]
    if prefix:
        tensors["head.per_dim_scale"] = weights["pooler/scales"]
        tensors["head.pooling_attention_query"] = weights["pooler/probe"][None, None]
    return tensors
