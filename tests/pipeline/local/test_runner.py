"""The local runner: what its cache compares, and what it does not."""

from components.registry.records import RunInfo
from pipeline.data import prepare
from pipeline.local.workdir import places
from pipeline.recipe import load_recipe
from pipeline.run import run_nodes
from tests.videos import write_colour_classes


def test_another_number_of_decoders_decodes_nothing_again(tmp_path):
    folder = write_colour_classes(tmp_path / "videos", per_class=4)
    recipe = load_recipe("small", ["train.batch_size=4"])
    data, _ = prepare(str(folder), str(tmp_path / "run"), recipe)
    info = RunInfo("small", {}, {}, "", "", recipe.push.approval)
    cached = [
        run_nodes(recipe, data, places(str(tmp_path / "run")), print, info, last="VideoExampleGen", beam=beam)[
            "VideoExampleGen"
        ].cached
        for beam in ([], ["direct_num_workers=7"])
    ]
    assert cached == [False, True]
