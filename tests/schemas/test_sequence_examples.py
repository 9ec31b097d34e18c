"""Names of the files of a table."""

from schemas.sequence_examples import expand_table


def test_shards_are_expanded_as_the_reference_does():
    assert expand_table("train@2", "/d") == ("/d/train-00000-of-00002", "/d/train-00001-of-00002")
    assert expand_table("a.tfrecord@1.gz", "/d") == ("/d/a.tfrecord-00000-of-00001.gz",)
    assert len(expand_table("train@123456", "/d")[0]) == len("/d/train-00000-of-123456")
    assert expand_table("one.tfrecord", "/d") == ("/d/one.tfrecord",)
    assert expand_table(["a", "b"], "/d") == ("/d/a", "/d/b")
