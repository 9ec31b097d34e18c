"""Kinetics-400 with VideoPrism-B (Zhao et al., ICML 2024) as it is: an attention pooler and a head on its tokens.

Trains   an attention pooler and a head, 9.8 M of 124.1 M parameters; 12 spatial + 4 temporal layers of width 768 stay
         as they are; 16 frames of 288x288 pixels, one of each sixteenth of the video, tubelets of 1x18x18.
Data     Kinetics-400: 214,834 training, 17,637 validation clips; stored at 12.5 fps, short side 288.
Cost     506 GFLOPs a view (a multiply-add is one); 20 epochs at batch 64, nothing backwards through the encoders.
Expect   top-1 82.9, frozen, with an attention pooler (google-deepmind/videoprism, README: VideoPrism-B, public).
Memory   a clip at the peak, and clips at once on devices of 16, 24, 40 and 80 GB (vivit bench memory --recipe
         videoprism_b): float32 0.16 GB, 84, 127, 215, 434;
         bfloat16 0.14 GB, 95, 145, 244, 493.
Command  vivit compile --recipe videoprism_b --set model.init_from=gs://BUCKET/flax_base_f16r288_repeated.npz
         --data MANIFEST --workdir gs://BUCKET/run --image IMAGE --output pipeline.yaml

The file is on Hugging Face, google/videoprism-base-f16r288, by Apache 2.0. How long and how fast the published pooler
was trained is not said there: epochs, rates, augmentation and views are this project's, and not tried on Kinetics.
"""

from components.evaluation.config import EvaluationConfig
from components.ingest.config import IngestConfig
from models.checkpoints.pretrained import ModelConfig
from models.clips.augment import AugmentConfig
from models.clips.sampling import ClipConfig, ViewsConfig
from models.training.config import TrainConfig
from models.training.groups import WeightGroup
from models.training.optimizers import OptimizerConfig, ScheduleConfig
from pipeline.recipe import DataConfig, Recipe

RECIPE = Recipe(
    data=DataConfig(heads=("label",), num_classes=(400,)),
    ingest=IngestConfig(fps=12.5, short_side=288),
    clip=ClipConfig(num_frames=16, sampling="segments", min_resize=288, crop_size=288),
    views=ViewsConfig(temporal=4, spatial=3, per_step=2),
    augment=AugmentConfig(scale=(1.0, 1.33), flip=0.5, colour=0.0, drop_colour=0.0),
    model=ModelConfig(
        tubelet=(1, 18, 18),
        variant="factorized_encoder",
        hidden_size=768,
        num_layers=12,
        temporal_layers=4,
        spatial_pool=False,
        num_heads=12,
        mlp_dim=3072,
        classifier="attention_pooler",
        gelu="exact",
        attention_logit_cap=50.0,
    ),
    train=TrainConfig(
        epochs=20,
        batch_size=64,
        optimizer=OptimizerConfig(
            name="adamw",
            schedule=ScheduleConfig(base_learning_rate=5e-4, warmup=1 / 20),
            epsilon=1e-8,
            weight_decay=0.05,
            groups=(WeightGroup(r"^(embedding|SpatialTransformer|TemporalTransformer)/", frozen=True),),
        ),
        label_smoothing=0.1,
    ),
    evaluation=EvaluationConfig(max_top_1_drop=0.005),
)
