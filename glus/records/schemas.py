"""What a video, an expression, a mask and all else are on disk: the Parquet schemas.

Every file carries its schema's name and version in its metadata; pandas, DuckDB and `datasets` open them as they are.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1

_KEY = [("dataset", pa.string()), ("split", pa.string()), ("video_id", pa.string())]
_EXPRESSION_KEY = [*_KEY, ("expression_id", pa.string())]
_RLE = [("height_px", pa.int32()), ("width_px", pa.int32()), ("rle_counts", pa.string())]

# what tells the rows of a table apart; `masks`, `predictions` and `pseudolabels` are checked where they are read
KEYS = {
    "videos": ("dataset", "split", "video_id"),
    "expressions": ("dataset", "split", "video_id", "expression_id"),
    "keyframes": ("dataset", "split", "video_id", "expression_id", "frame_index"),
    "anchors": ("dataset", "split", "video_id", "expression_id", "source"),
}

SCHEMAS: dict[str, pa.Schema] = {
    name: pa.schema(fields, metadata={"glus.schema": name, "glus.schema_version": str(SCHEMA_VERSION)})
    for name, fields in {
        # grey_frames: ambiguous ones, in which what is meant cannot be told; empty where the set does not say
        "videos": [
            *_KEY,
            ("num_frames", pa.int32()),
            ("height_px", pa.int32()),
            ("width_px", pa.int32()),
            ("frame_names", pa.list_(pa.string())),
            ("frame_dir", pa.string()),
            ("grey_frames", pa.list_(pa.int32())),
        ],
        # family: a label by which results are grouped; null where the set has none
        "expressions": [
            *_EXPRESSION_KEY,
            ("expression", pa.string()),
            ("object_ids", pa.list_(pa.string())),
            ("annotation_ids", pa.list_(pa.string())),
            ("family", pa.string()),
        ],
        # only frames where the object is present; sorted by video, annotation, frame
        "masks": [
            *_KEY,
            ("annotation_id", pa.string()),
            ("frame_index", pa.int32()),
            *_RLE,
            ("area_px", pa.int64()),
        ],
        "pseudolabels": [
            *_EXPRESSION_KEY,
            ("frame_index", pa.int32()),
            ("frame_name", pa.string()),
            ("iou", pa.float32()),
            ("target_present", pa.bool_()),
            ("predicted_area_px", pa.int64()),
            ("seg_token_generated", pa.bool_()),
            ("checkpoint_step", pa.int32()),
            ("checkpoint_sha256", pa.string()),
            ("shard", pa.int32()),
        ],
        "keyframes": [
            *_EXPRESSION_KEY,
            ("frame_index", pa.int32()),
            ("score", pa.float32()),
            ("is_key_frame", pa.bool_()),
        ],
        # mean_logit: of the decoder's logits above 0; null where there are none
        "predictions": [
            *_EXPRESSION_KEY,
            ("frame_index", pa.int32()),
            *_RLE,
            ("seg_token_generated", pa.bool_()),
            ("mean_logit", pa.float32()),
        ],
        # of one video while a split is propagated; way: the folder of the table that the row goes to
        "ways": [
            *_EXPRESSION_KEY,
            ("way", pa.string()),
            ("frame_index", pa.int32()),
            *_RLE,
            ("seg_token_generated", pa.bool_()),
            ("mean_logit", pa.float32()),
        ],
        # of `glus segment`: a row for each frame and sentence, by frame; frame_index counts the film's frames, time_s
        # is when a player shows it, null where there is no clock
        "segmented": [
            ("frame_index", pa.int32()),
            ("frame_name", pa.string()),
            ("time_s", pa.float64()),
            ("sentence_number", pa.int32()),
            ("sentence", pa.string()),
            *_RLE,
            ("area_px", pa.int64()),
            ("seg_token_generated", pa.bool_()),
            ("is_key_frame", pa.bool_()),
            ("stability", pa.float64()),
            ("selector_score", pa.float64()),
        ],
        # key frames that masks were propagated from; source: `selected`, or a comparison's
        "anchors": [*_EXPRESSION_KEY, ("source", pa.string()), ("frame_index", pa.int32())],
        "per_expression": [
            *_EXPRESSION_KEY,
            ("family", pa.string()),
            ("j", pa.float64()),
            ("f", pa.float64()),
            ("jf", pa.float64()),
            ("num_frames", pa.int32()),
            ("key_frame_index", pa.int32()),
            ("oracle_key_frame_index", pa.int32()),
            ("referent_correct", pa.bool_()),
            # failure: the kind that costs the most; lost_*: what each kind costs of 1 - jf; jf_*: from other frames
            ("num_visible_frames", pa.int32()),
            ("num_missed_frames", pa.int32()),
            ("failure", pa.string()),
            ("lost_false_alarm", pa.float64()),
            ("lost_empty", pa.float64()),
            ("lost_missed", pa.float64()),
            ("lost_wrong_object", pa.float64()),
            ("lost_extent", pa.float64()),
            ("lost_boundary", pa.float64()),
            ("jf_first_frame", pa.float64()),
            ("jf_random_frame", pa.float64()),
            ("jf_oracle_frame", pa.float64()),
        ],
        # what is wrong with the raw data; the file is relative to the dataset's root, a record lies in it
        "staging_errors": [
            ("dataset", pa.string()),
            ("split", pa.string()),
            ("severity", pa.string()),
            ("file", pa.string()),
            ("record", pa.string()),
            ("problem", pa.string()),
            ("action", pa.string()),
        ],
    }.items()
}
