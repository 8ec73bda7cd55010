"""Table of trained models and their training data."""

import pyarrow as pa

from schemas.declaration import Column, Table

MODELS = Table(
    "models",
    "Models trained by `winnow train`, and the data of each.",
    key=("model_id",),
    columns=(
        Column("model_id", pa.string(), "SHA-256 of the weights: the `weights_hash` of their detections."),
        Column("name", pa.string(), "Name of the model."),
        Column("path", pa.string(), "Path of the weights."),
        Column("base", pa.string(), "The architecture, or the weights, from which training started."),
        Column("base_hash", pa.string(), "SHA-256 of that file."),
        Column("data", pa.string(), "Folder of the export on which it was trained."),
        Column("data_content", pa.string(), "Hash of the images in each split, from the export's manifest."),
        Column("release", pa.string(), "Release from which the export was made; null for none.", nullable=True),
        Column("run", pa.string(), "Run from which the export was made; null for the current state.", nullable=True),
        Column("manifest", pa.string(), "The manifest of the export, as JSON: table versions, filters, models, files."),
        Column("params", pa.string(), "Training parameters, as JSON."),
        Column("metrics", pa.string(), "Metrics of the library on the validation split, as JSON."),
        Column("licence", pa.string(), "Licence of the weights."),
        Column("seconds", pa.float64(), "Duration of the training.", "s"),
        Column("created_ns", pa.int64(), "When training ended.", "ns since 1970"),
    ),
)
