"""Your own videos on a laptop: a small factorised encoder, from scratch.

Trains   ViViT model 2, 6 + 2 layers of width 192, tubelets of 2x16x16, on 16 frames of 112x112 pixels.
Data     a folder with a sub-folder per class, or a manifest; from about 150 clips of each class on. With fewer, start
         from an image ViT: docs/few-clips.md.
Cost     about 10 clips a second on two CPU cores; a GPU is used where there is one.
Expect   what a few million parameters learn from scratch; published recipes start from an image ViT.
Command  vivit run --data videos/ --workdir run/

Where left and right are different classes, set augment.flip=0. Where you have fewer than a batch of clips, lower
train.batch_size.
"""

from components.evaluation.config import EvaluationConfig
from components.ingest.config import IngestConfig
from models.checkpoints.pretrained import ModelConfig
from models.clips.augment import AugmentConfig
from models.clips.sampling import ClipConfig, ViewsConfig
from models.training.config import TrainConfig
from models.training.optimizers import OptimizerConfig, ScheduleConfig
from pipeline.recipe import Recipe

RECIPE = Recipe(
    ingest=IngestConfig(fps=12.5, short_side=128),
    clip=ClipConfig(num_frames=16, stride=2, min_resize=128, crop_size=112),
    views=ViewsConfig(temporal=4, spatial=3),
    augment=AugmentConfig(scale=(0.9, 1.33), flip=0.5, colour=0.8, drop_colour=0.1),
    model=ModelConfig(
        tubelet=(2, 16, 16),
        hidden_size=192,
        num_layers=6,
        temporal_layers=2,
        num_heads=3,
        mlp_dim=768,
        # From scratch; with model.init_from it does not matter.
        tubelet_init="lecun_normal",
    ),
    train=TrainConfig(
        epochs=30,
        batch_size=16,
        optimizer=OptimizerConfig(
            name="adamw", schedule=ScheduleConfig(base_learning_rate=5e-4, warmup=0.1), weight_decay=0.05
        ),
        label_smoothing=0.1,
        checkpoint_steps=200,
    ),
    evaluation=EvaluationConfig(max_top_1_drop=0.01),
)
