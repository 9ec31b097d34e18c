"""A few hundred videos of your own: linear heads on the frames' features of a pretrained image ViT.

Trains   a head on the class token and the mean token of 8 frames, side by side; the image ViT stays as it is.
         Or, with model.classifier=attentive, a learned query over all tokens, and a head on what it finds.
Data     a folder with a sub-folder per class, or a manifest; from about ten clips a class on.
Cost     one forward pass of each clip, and seconds for the heads.
Expect   what is to be seen in single frames and their order; see docs/few-clips.md for what was measured.
Command  vivit run --recipe probe --data videos/ --workdir run/ --set model.init_from=dinov2s.safetensors

Width, depth and patch are those of model.init_from: an image ViT of Hugging Face, timm, DINOv2 or big_vision.
"""

from components.evaluation.config import EvaluationConfig
from components.ingest.config import IngestConfig
from models.checkpoints.pretrained import ModelConfig
from models.clips.augment import AugmentConfig
from models.clips.sampling import ClipConfig, ViewsConfig
from models.training.config import ProbeConfig, TrainConfig
from pipeline.recipe import Recipe

RECIPE = Recipe(
    ingest=IngestConfig(fps=12.5, short_side=112),
    # 112 pixels hold patches of 14 and of 16.
    clip=ClipConfig(num_frames=8, sampling="segments", min_resize=112, crop_size=112),
    views=ViewsConfig(temporal=1, spatial=1),
    augment=AugmentConfig(scale=None, flip=0.0, colour=0.0, drop_colour=0.0),
    model=ModelConfig(
        network="weights",
        tubelet=(1, 16, 16),
        temporal_layers=0,
        temporal_pool="concat",
        classifier="token_and_mean",
    ),
    train=TrainConfig(probe=ProbeConfig(), epochs=0, batch_size=16),
    evaluation=EvaluationConfig(max_top_1_drop=0.01),
)
