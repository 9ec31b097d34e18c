"""Writes DMVR's records as its generator does: one SequenceExample a clip, JPEG frames that show their number."""

import io

import tensorflow as tf
from PIL import Image

from schemas import sequence_examples as dmvr
from tests.components.media.videos import counter


def jpegs(count, first=0, height=32, width=48):
    """JPEG bytes of `count` frames, numbered from `first`."""
    frames = []
    for number in range(first, first + count):
        buffer = io.BytesIO()
        Image.fromarray(counter(number, height, width)).save(buffer, "JPEG", quality=90)
        frames.append(buffer.getvalue())
    return frames


def record(indices, frames, video="", start=0):
    """A serialised record; without the name of a video where there is none."""
    example = tf.train.SequenceExample()
    example.context.feature[dmvr.LABEL_INDICES].int64_list.value.extend(indices)
    example.context.feature[dmvr.START].int64_list.value.append(start)
    if video:
        example.context.feature[dmvr.FILENAME].bytes_list.value.append(video.encode())
    for frame in frames:
        example.feature_lists.feature_list[dmvr.FRAMES].feature.add().bytes_list.value.append(frame)
    return example.SerializeToString()


def write_records(path, records):
    """Writes a TFRecord file; gives the paths of its records."""
    paths, offset = [], 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for data in records:
            writer.write(data)
            paths.append(f"{path}#{offset}")
            offset += len(data) + 16
    return paths
