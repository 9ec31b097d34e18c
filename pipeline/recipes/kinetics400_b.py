"""Kinetics-400, ViViT-B/16x2, model 1: all tokens attend to all tokens.

Trains   12 layers of width 768; 89.0 M parameters; 32 frames of 224x224 pixels, every second frame, tubelets of
         2x16x16.
Data     Kinetics-400: 214,834 training, 17,637 validation clips; stored at 25 fps, short side 256.
Cost     455.2 GFLOPs a view (a multiply-add is one); 30 epochs at batch 64: accelerators.
Expect   top-1 79.9 over 4x3 views (reference's model zoo).
         Starts from ImageNet-21k's ViT-B/16.
Memory   a clip at the peak, and clips at once on devices of 16, 24, 40 and 80 GB (vivit bench memory --recipe
         kinetics400_b): float32 8.15 GB, 1, 2, 4, 8, with train.remat=blocks 1.59 GB, 8, 13, 22, 44;
         bfloat16 4.67 GB, 2, 4, 7, 15, with train.remat=blocks 1.35 GB, 10, 15, 26, 52.
Command  vivit compile --recipe kinetics400_b --set model.init_from=gs://BUCKET/ViT-B_16.npz --data MANIFEST
         --workdir gs://BUCKET/run --image IMAGE --output pipeline.yaml
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
    data=DataConfig(heads=("label",), num_classes=(400,)),
    ingest=IngestConfig(fps=25, short_side=256),
    clip=ClipConfig(num_frames=32, stride=2, min_resize=256, crop_size=224),
    views=ViewsConfig(temporal=4, spatial=3, per_step=2),
    augment=AugmentConfig(scale=(0.9, 1.33), flip=0.5, colour=0.8, drop_colour=0.1),
    model=ModelConfig(
        tubelet=(2, 16, 16), variant="spacetime", hidden_size=768, num_layers=12, num_heads=12, mlp_dim=3072
    ),
    train=TrainConfig(
        epochs=30,
        batch_size=64,
        optimizer=OptimizerConfig(
            name="momentum",
            schedule=ScheduleConfig(base_learning_rate=0.1, warmup=2.5 / 30),
            momentum=0.9,
            max_grad_norm=1.0,
        ),
    ),
    evaluation=EvaluationConfig(max_top_1_drop=0.005),
)
