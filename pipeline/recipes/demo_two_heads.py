"""The demo with two heads: the motion and the digit, named at once by one network.

Trains   the demo's network, 144 wide, with tubelets of 4x24x24, for 60 epochs.
Data     the demo's 1,600 training and 240 evaluation clips: 8 verbs, 10 nouns, no digit image in two splits.
Cost     about 7 CPU minutes of training.
Expect   top-1 over 4x3 views: verb 1.00, noun and action (both right) 0.91 to 0.93, by the seed.
Command  vivit demo --recipe demo_two_heads --workdir demo_two_heads

The digit is the hard half: some 1,500 images of handwriting, tilted and moving. Tubelets of 12x12 pixels see a stroke
each, and learn to put strokes together slowly (noun 0.60 after 18 epochs); a quarter of the frame shows a good part of
a digit at once.
"""

import dataclasses

from components.evaluation.config import EvaluationConfig
from pipeline.recipes import demo

RECIPE = dataclasses.replace(
    demo.RECIPE,
    data=dataclasses.replace(
        demo.RECIPE.data, heads=("verb", "noun"), num_classes=(8, 10), slices=("background", "fps", "shape")
    ),
    # A still digit has a noun.
    augment=dataclasses.replace(demo.RECIPE.augment, still=0.0),
    model=dataclasses.replace(demo.RECIPE.model, tubelet=(4, 24, 24), hidden_size=144, mlp_dim=576),
    train=dataclasses.replace(demo.RECIPE.train, epochs=60, eval_epochs=10),
    evaluation=EvaluationConfig(min_top_1=0.8, min_joint_top_1=0.8, max_top_1_drop=0.03),
)
