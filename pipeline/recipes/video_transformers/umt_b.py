"""Kinetics-400, fine-tuning UMT's ViT-B/16 (Li et al., ICCV 2023): model 1 on 8 frames spread over the whole video.

Trains   12 layers of width 768; 86.0 M parameters; one frame of 224x224 pixels of each eighth, tubelets of 1x16x16.
Data     Kinetics-400: 214,834 training, 17,637 validation clips; stored at 12.5 fps, short side 224.
Cost     179 GFLOPs a view (a multiply-add is one); 5 epochs at batch 256, each video twice: accelerators.
Expect   top-1 87.4 over 4x3 views, of weights pretrained and fine-tuned on Kinetics-710
         (OpenGVLab/unmasked_teacher, single_modality/MODEL_ZOO.md).
Memory   a clip at the peak, and clips at once on devices of 16, 24, 40 and 80 GB (vivit bench memory --recipe umt_b):
         float32 2.96 GB, 4, 6, 11, 23, with train.remat=blocks 0.44 GB, 30, 46, 78, 160;
         bfloat16 1.67 GB, 8, 12, 20, 42, with train.remat=blocks 0.38 GB, 35, 54, 92, 187.
Command  vivit compile --recipe umt_b --set model.init_from=gs://BUCKET/umt.safetensors --data MANIFEST
         --workdir gs://BUCKET/run --image IMAGE --output pipeline.yaml

The rates, decays and epochs are those of the authors' b16_ptk710_ftk710_ftk400_f8_res224.sh: 2e-5 for 256 videos. They
began with Kinetics-710's head, which has all classes of Kinetics-400; here the head is new, and learns ten times as
fast. A video is drawn twice a step, and epochs and batches count both here. They also cropped down to 8 % of a frame's
area, which is not done here. `vivit convert FILE --recipe umt_b --output OUT` converts a fine-tuned checkpoint.
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
    ingest=IngestConfig(fps=12.5, short_side=224),
    clip=ClipConfig(num_frames=8, sampling="segments", min_resize=224, crop_size=224),
    views=ViewsConfig(temporal=4, spatial=3, per_step=3),
    augment=AugmentConfig(
        scale=(1.0, 1.33),
        flip=0.5,
        colour=0.0,
        drop_colour=0.0,
        randaugment_layers=4,
        randaugment_magnitude=7,
        mixup=0.8,
        cutmix=1.0,
        switch=0.5,
        erasing=0.25,
        repeats=2,
    ),
    model=ModelConfig(
        tubelet=(1, 16, 16),
        variant="spacetime",
        hidden_size=768,
        num_layers=12,
        num_heads=12,
        mlp_dim=3072,
        classifier="gap",
        fc_norm=1e-6,
        position_embedding="sinusoidal_1d",
        gelu="exact",
        stochastic_depth=0.1,
    ),
    train=TrainConfig(
        epochs=10,
        batch_size=512,
        optimizer=OptimizerConfig(
            name="adamw",
            schedule=ScheduleConfig(base_learning_rate=2e-5, warmup=1 / 5, min_rate=0.05),
            epsilon=1e-8,
            weight_decay=0.05,
            max_grad_norm=None,
            layer_decay=0.75,
            head_rate=10,
        ),
        label_smoothing=0.1,
    ),
    evaluation=EvaluationConfig(max_top_1_drop=0.005),
)
