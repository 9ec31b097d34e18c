"""The demo: a small factorised encoder that names the motion of handwritten digits, from scratch.

Trains   ViViT model 2, 3 + 2 layers of width 96, tubelets of 4x12x12, on 8 frames of 48x48 pixels.
Data     1,600 training and 240 evaluation clips that `vivit demo` makes; 8 motions, no digit image in two splits.
Cost     about 80 seconds of training on two CPU cores.
Expect   top-1 0.98 or more over 4x3 views, on digits never seen in training.
Command  vivit demo
"""

from components.evaluation.config import EvaluationConfig
from components.ingest.config import IngestConfig
from models.checkpoints.pretrained import ModelConfig
from models.clips.augment import AugmentConfig
from models.clips.sampling import ClipConfig, ViewsConfig
from models.training.config import TrainConfig
from models.training.optimizers import OptimizerConfig, ScheduleConfig
from pipeline.recipe import DataConfig, Recipe

RECIPE = Recipe(
    # The digit, the manifest's other label, becomes a slice.
    data=DataConfig(heads=("verb",), num_classes=(8,), slices=("noun", "background", "fps", "shape"), storage="raw"),
    ingest=IngestConfig(fps=10, short_side=48),
    clip=ClipConfig(num_frames=8, stride=2, min_resize=48, crop_size=48),
    views=ViewsConfig(temporal=4, spatial=3),
    # No flip and no colour: a flip changes the motion. Still clips, so that it names none where nothing moves.
    augment=AugmentConfig(scale=None, flip=0.0, colour=0.0, drop_colour=0.0, still=0.1),
    model=ModelConfig(
        tubelet=(4, 12, 12),
        hidden_size=96,
        num_layers=3,
        temporal_layers=2,
        num_heads=3,
        mlp_dim=384,
        classifier="gap",
        # From scratch: a kernel that looks at one frame only at first learns motion slowly (0.53 against 0.99).
        tubelet_init="lecun_normal",
    ),
    train=TrainConfig(
        epochs=18,
        batch_size=64,
        optimizer=OptimizerConfig(
            name="adamw", schedule=ScheduleConfig(base_learning_rate=2e-3, warmup=0.1), weight_decay=0.05
        ),
        label_smoothing=0.1,
        eval_epochs=3,
    ),
    evaluation=EvaluationConfig(min_top_1=0.8, max_top_1_drop=0.02),
)
