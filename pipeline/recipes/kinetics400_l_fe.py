"""Kinetics-400, ViViT-L/16x2 factorised encoder, model 2.

Trains   24 spatial + 24 temporal layers of width 1024 (the paper says 4; its 995 GFLOPs say 24); 606.8 M parameters;
         32 frames of 224x224 pixels, every second frame, tubelets of 2x16x16.
Data     Kinetics-400: 214,834 training, 17,637 validation clips; stored at 25 fps, short side 256.
Cost     995.2 GFLOPs a view (a multiply-add is one); 30 epochs at batch 64: accelerators.
Expect   top-1 80.3 over 4x3 views (reference's model zoo).
         Starts from ImageNet-21k's ViT-L/16.
Memory   a clip at the peak, and clips at once on devices of 16, 24, 40 and 80 GB (vivit bench memory --recipe
         kinetics400_l_fe): float32 7.03 GB, 1, 2, 4, 9, with train.remat=blocks 0.75 GB, 12, 22, 41, 89;
         bfloat16 3.91 GB, 2, 4, 7, 17, with train.remat=blocks 0.59 GB, 16, 28, 52, 113.
Command  vivit compile --recipe kinetics400_l_fe --set model.init_from=gs://BUCKET/ViT-L_16.npz --data MANIFEST
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
        tubelet=(2, 16, 16),
        variant="factorized_encoder",
        hidden_size=1024,
        num_layers=24,
        temporal_layers=24,
        num_heads=16,
        mlp_dim=4096,
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
