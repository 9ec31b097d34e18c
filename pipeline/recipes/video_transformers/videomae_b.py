"""Kinetics-400, fine-tuning VideoMAE's ViT-B/16 (Tong et al., NeurIPS 2022): model 1 on 16 frames.

Trains   12 layers of width 768; 86.5 M parameters; 16 frames of 224x224 pixels, every fourth, tubelets of 2x16x16.
Data     Kinetics-400: 214,834 training, 17,637 validation clips; stored at 30 fps, short side 224.
Cost     180 GFLOPs a view (a multiply-add is one); 75 epochs at batch 384, each video twice: accelerators.
Expect   top-1 81.5, top-5 95.1 over 5x3 views, of weights pretrained for 1600 epochs (MCG-NJU/VideoMAE, MODEL_ZOO.md).
Memory   a clip at the peak, and clips at once on devices of 16, 24, 40 and 80 GB (vivit bench memory --recipe
         videomae_b): float32 2.96 GB, 4, 6, 11, 23, with train.remat=blocks 0.45 GB, 29, 45, 78, 158;
         bfloat16 1.67 GB, 7, 12, 20, 42, with train.remat=blocks 0.38 GB, 34, 53, 91, 185.
Command  vivit compile --recipe videomae_b --set model.init_from=gs://BUCKET/FOLDER --data MANIFEST
         --workdir gs://BUCKET/run --image IMAGE --output pipeline.yaml

The rates, decays and epochs are those of the authors' finetune.sh (epoch_1600): 5e-4 for 256 videos. A video is
drawn twice a step, and epochs and batches count both here. They also cropped down to 8 % of a frame's area, which is
not done here. `vivit convert FOLDER --recipe videomae_b --output OUT` converts a fine-tuned checkpoint. VideoMAE v2's
ViT-B is the same network. The epsilons are those of Hugging Face's network; the authors' has 1e-6 throughout.
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
    ingest=IngestConfig(fps=30, short_side=224),
    clip=ClipConfig(num_frames=16, stride=4, min_resize=224, crop_size=224),
    views=ViewsConfig(temporal=5, spatial=3, per_step=3),
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
        tubelet=(2, 16, 16),
        variant="spacetime",
        hidden_size=768,
        num_layers=12,
        num_heads=12,
        mlp_dim=3072,
        classifier="gap",
        fc_norm=1e-5,
        position_embedding="sinusoidal_1d",
        gelu="exact",
        layer_norm_epsilon=1e-12,
        stochastic_depth=0.1,
    ),
    train=TrainConfig(
        epochs=150,
        batch_size=768,
        optimizer=OptimizerConfig(
            name="adamw",
            schedule=ScheduleConfig(base_learning_rate=7.5e-4, warmup=5 / 75, min_rate=0.002),
            epsilon=1e-8,
            weight_decay=0.05,
            max_grad_norm=None,
            layer_decay=0.75,
        ),
        label_smoothing=0.1,
    ),
    evaluation=EvaluationConfig(max_top_1_drop=0.005),
)
