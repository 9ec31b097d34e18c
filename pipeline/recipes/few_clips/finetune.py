"""A few hundred videos of your own: all of a pretrained image ViT, in two steps.

Trains   first a head on the features of 8 frames, as the recipe probe does; then the upper half of the ViT with it, at
         rates that fall with depth, on features that stay standardised, seeing half of each frame's patches.
Data     a folder with a sub-folder per class, or a manifest; from about twenty clips a class on.
Cost     a step costs a clip about as much as one forward pass of all patches.
Expect   more than a probe where motion or detail tells the classes; see docs/few-clips.md for what was measured.
Command  vivit run --recipe finetune --data videos/ --workdir run/ --set model.init_from=dinov2s.safetensors

Width, depth and patch are those of model.init_from: an image ViT of Hugging Face, timm, DINOv2 or big_vision. Clips are
not flipped, as left and right may be classes of yours.
"""

import dataclasses

from models.clips.augment import AugmentConfig
from models.training.config import ProbeConfig, TrainConfig
from models.training.optimizers import OptimizerConfig, ScheduleConfig
from pipeline.recipes.few_clips import probe

RECIPE = dataclasses.replace(
    probe.RECIPE,
    augment=AugmentConfig(scale=(1.0, 1.4), flip=0.0, colour=0.4, drop_colour=0.0),
    model=dataclasses.replace(probe.RECIPE.model, patch_dropout=0.5),
    train=TrainConfig(
        probe=ProbeConfig(clips=512),
        standardise=True,
        epochs=8,
        batch_size=16,
        optimizer=OptimizerConfig(
            name="adamw",
            schedule=ScheduleConfig(base_learning_rate=3e-4, warmup=0.1),
            weight_decay=0.05,
            layer_decay=0.75,
            max_grad_norm=1.0,
            frozen_layers=0.5,
        ),
        label_smoothing=0.1,
        eval_epochs=4,
        checkpoint_steps=50,
    ),
)
