"""EPIC-KITCHENS-100, ViViT-L/16x2 factorised encoder, heads noun (300) and verb (97).

Trains   24 spatial + 4 temporal layers of width 1024; 354.9 M parameters; 32 frames of 224x224 pixels, every frame,
         tubelets of 2x16x16.
Data     EPIC-KITCHENS-100: 67,217 training, 9,668 validation clips; stored at 10 fps (the rate is not published),
         short side 256.
Cost     990.9 GFLOPs a view (a multiply-add is one); 50 epochs at batch 64: accelerators.
Expect   action top-1 43.6 over 4x1 views (reference's model zoo); verb 66.4, noun 56.8 (paper).
         Starts from a model of Kinetics, or from ImageNet-21k's ViT-L/16.
Memory   a clip at the peak, and clips at once on devices of 16, 24, 40 and 80 GB (vivit bench memory --recipe
         epic_kitchens_l_fe): float32 6.97 GB, 1, 2, 4, 9, with train.remat=blocks 0.70 GB, 16, 26, 47, 99;
         bfloat16 3.85 GB, 3, 4, 8, 17, with train.remat=blocks 0.53 GB, 21, 35, 62, 131.
Command  vivit compile --recipe epic_kitchens_l_fe --set model.init_from=gs://BUCKET/ViT-L_16.npz --data MANIFEST
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
    # Nouns first, as in the reference's checkpoints.
    data=DataConfig(heads=("noun", "verb"), num_classes=(300, 97)),
    ingest=IngestConfig(fps=10, short_side=256),
    clip=ClipConfig(num_frames=32, stride=1, min_resize=256, crop_size=224),
    views=ViewsConfig(temporal=4, spatial=1, per_step=2),
    augment=AugmentConfig(
        scale=(0.9, 1.33),
        flip=0.5,
        colour=0.0,
        drop_colour=0.0,
        randaugment_layers=2,
        mixup=0.1,
        randaugment_magnitude=15,
    ),
    model=ModelConfig(
        tubelet=(2, 16, 16),
        variant="factorized_encoder",
        hidden_size=1024,
        num_layers=24,
        temporal_layers=4,
        num_heads=16,
        mlp_dim=4096,
        stochastic_depth=0.2,
    ),
    train=TrainConfig(
        epochs=50,
        batch_size=64,
        optimizer=OptimizerConfig(
            name="momentum",
            schedule=ScheduleConfig(base_learning_rate=0.5, warmup=2.5 / 50),
            momentum=0.9,
            max_grad_norm=1.0,
        ),
        label_smoothing=0.2,
    ),
    evaluation=EvaluationConfig(max_top_1_drop=0.005),
)
