"""The Arrow schema of every table that passes between stages.

`image_id` is the SHA-256 of the encoded picture in hexadecimal, so byte-identical pictures share it; up to `clean` a
row's key is its `path` in the source, from `clean` on image_id is unique. A label that the source lacks is null.
"""

import pyarrow as pa

THUMBNAIL = 19  # pixels a side of the grey thumbnail; near-identical twins correlate above .98 at this size

# Rows that a stage did not keep: exactly one machine-readable reason each, and its detail for people.
REJECTED = pa.schema(
    [
        ("path", pa.string()),
        ("image_id", pa.string()),  # null where the picture could not be read
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)

# ingest: the original bytes, each distinct picture once, under the first path that it was seen at
IMAGES = pa.schema([("image_id", pa.string()), ("path", pa.string()), ("bytes", pa.binary())])

# ingest: one row for each readable row of the sources
LABELS = pa.schema(
    [
        ("image_id", pa.string()),
        ("path", pa.string()),  # prefix of the source / path inside it; the key of a row
        ("width", pa.int32()),  # pixels, after turning by EXIF
        ("height", pa.int32()),
        ("phash", pa.uint64()),  # perceptual hash of 64 bits (DCT)
        ("thumbnail", pa.binary(THUMBNAIL * THUMBNAIL)),  # grey, row by row; confirms what the hash suspects
        ("age", pa.int16()),  # years
        ("gender", pa.int8()),
        ("race", pa.int8()),
        ("subject", pa.string()),  # a salted hash, never a name
        ("dob", pa.date32()),
        ("photo_taken", pa.int16()),  # year
        ("face_score", pa.float64()),  # -inf: the source's own detector found no face
        ("second_face_score", pa.float64()),  # null: no second face
    ]
)

# ingest: known wrong rows, as the dataset's table of overrides says
OVERRIDES = pa.schema(
    [
        ("path", pa.string()),
        ("action", pa.string()),  # "reject" or "set"
        ("age", pa.int16()),
        ("gender", pa.int8()),
        ("race", pa.int8()),
        ("note", pa.string()),
    ]
)

# clean: what is kept, with the labels in use from here on
KEPT = pa.schema(
    [
        LABELS.field(name)
        for name in ("image_id", "path", "width", "height", "phash", "thumbnail", "age", "gender", "race", "subject")
    ]
)

# clean: pairs of near-identical pictures among those that the rules keep
NEAR_IDENTICAL = pa.schema(
    [
        ("first", pa.string()),  # image_ids
        ("second", pa.string()),
        ("distance", pa.uint8()),  # bits by which the perceptual hashes differ
        ("correlation", pa.float32()),  # of the thumbnails
        ("contradicting", pa.bool_()),
    ]
)

# detect: one row a face, or one row without a box for a picture with no face or on which the detector failed
FACES = pa.schema(
    [
        ("image_id", pa.string()),
        ("count", pa.int16()),  # faces found in the picture; null where the detector failed
        ("face", pa.int16()),  # index of this one, by descending score; null where there is none
        ("x", pa.int32()),  # pixels; left edge of the bounding box, may be negative
        ("y", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("score", pa.float32()),  # 0 to 1
        (
            "landmarks",
            pa.list_(pa.int32(), 10),
        ),  # x, y of left eye, right eye, nose, left and right corner of the mouth
        ("error", pa.string()),  # what the detector raised, or that it found too many
    ]
)

# crop: the square crop, lossless, and what was measured on it
CROPS = pa.schema(
    [
        ("image_id", pa.string()),
        ("png", pa.binary()),
        ("face_side", pa.int32()),  # pixels; the shorter side of the face's box in the original picture
        ("sharpness", pa.float32()),  # variance of the Laplacian, grey levels squared
        ("brightness", pa.float32()),  # mean grey level, 0 to 255
    ]
)

# split: which subset and fold a picture belongs to
ASSIGNMENT = pa.schema(
    [
        ("image_id", pa.string()),
        ("group", pa.string()),  # pictures of one subject or one near-duplicate group share it
        ("subset", pa.string()),  # one of SUBSETS
        ("fold", pa.int8()),  # 0 … folds - 1, for cross-validation
    ]
)
SUBSETS = ("train", "val", "test")

# shard: what training reads; null (Parquet) or MISSING (TFRecord) where a label is unknown
SHARD = pa.schema(
    [
        ("image_id", pa.string()),
        ("crop", pa.binary()),  # its pixels or a PNG of them, as the manifest tells (`faceline.datasets.crops`)
        ("age", pa.int16()),
        ("gender", pa.int8()),
        ("race", pa.int8()),
    ]
)
MISSING = -1

# evaluate: labels and answers side by side, one row a picture of the test shard
PREDICTIONS = pa.schema(
    [
        ("image_id", pa.string()),
        ("group", pa.string()),  # pictures of one subject or one near-duplicate group share it; null: on its own
        ("age", pa.int16()),
        ("gender", pa.int8()),
        ("race", pa.int8()),
        ("age_predicted", pa.float32()),  # years; null where the bundle has no such target (so below)
        ("age_low", pa.float32()),  # years; bounds of the bundle's interval
        ("age_high", pa.float32()),
        ("female_probability", pa.float32()),
        ("race_probabilities", pa.list_(pa.float32(), 5)),
    ]
)

# crossvalidate: answers of networks that have not seen the picture, nor another of its group
OUT_OF_FOLD = PREDICTIONS.append(pa.field("fold", pa.int8()))

# crossvalidate: rows whose label is unlikely, most suspect first for each target
SUSPECTS = pa.schema(
    [
        ("target", pa.string()),  # age, gender or race
        ("rank", pa.int32()),  # 1, 2, … for each target
        ("image_id", pa.string()),
        ("path", pa.string()),
        ("label", pa.int16()),  # years or code
        ("predicted", pa.float32()),  # years or code
        ("score", pa.float32()),  # quality of the label, from 0 (surely wrong) to 1
    ]
)
