"""Something-Something v2, ViViT-L/16x2 factorised encoder, at 256 pixels.

Trains   24 spatial + 4 temporal layers of width 1024; 354.7 M parameters; 32 frames of 256x256 pixels, every frame,
         tubelets of 2x16x16.
Data     Something-Something v2: 168,913 training, 24,777 validation clips; stored at 12 fps as released, short side
         288.
Cost     1304.8 GFLOPs a view (a multiply-add is one); 35 epochs at batch 64: accelerators.
Expect   top-1 65.9, top-5 89.9 (paper, Table 6).
         Starts from a model of Kinetics, or from ImageNet-21k's ViT-L/16.
Memory   a clip at the peak, and clips at once on devices of 16, 24, 40 and 80 GB (vivit bench memory --recipe
         ssv2_l_fe): float32 9.45 GB, 1, 1, 3, 7, with train.remat=blocks 0.92 GB, 12, 20, 36, 75;
         bfloat16 5.18 GB, 2, 3, 6, 13, with train.remat=blocks 0.69 GB, 16, 27, 47, 100.
Command  vivit compile --recipe ssv2_l_fe --set model.init_from=gs://BUCKET/ViT-L_16.npz --data MANIFEST
         --workdir gs://BUCKET/run --image IMAGE --output pipeline.yaml

The reference flips these clips too, though some classes differ by left and right; so does this recipe.
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
    data=DataConfig(heads=("label",), num_classes=(174,)),
    ingest=IngestConfig(fps=12, short_side=288),
    clip=ClipConfig(num_frames=32, stride=1, min_resize=288, crop_size=256),
    views=ViewsConfig(temporal=4, spatial=3, per_step=2),
    augment=AugmentConfig(
        scale=(0.9, 1.33),
        flip=0.5,
        colour=0.0,
        drop_colour=0.0,
        randaugment_layers=2,
        mixup=0.3,
        randaugment_magnitude=20,
    ),
    model=ModelConfig(
        tubelet=(2, 16, 16),
        variant="factorized_encoder",
        hidden_size=1024,
        num_layers=24,
        temporal_layers=4,
        num_heads=16,
        mlp_dim=4096,
        stochastic_depth=0.3,
    ),
    train=TrainConfig(
        epochs=35,
        batch_size=64,
        optimizer=OptimizerConfig(
            name="momentum",
            schedule=ScheduleConfig(base_learning_rate=0.4, warmup=2.5 / 35),
            momentum=0.9,
            max_grad_norm=1.0,
        ),
        label_smoothing=0.3,
    ),
    evaluation=EvaluationConfig(max_top_1_drop=0.005),
)
