"""Models that were trained here, and on what."""

import pyarrow as pa

from schemas.core import Column, Table

MODELS = Table(
    "models",
    "Models that `winnow train` has made, and which data each was trained on.",
    key=("model_id",),
    columns=(
        Column("model_id", pa.string(), "SHA-256 of the weights: the `weights_hash` of what they find."),
        Column("name", pa.string(), "What it was called."),
        Column("path", pa.string(), "Where its weights were put."),
        Column("base", pa.string(), "The architecture, or the weights, that training began with."),
        Column("base_hash", pa.string(), "SHA-256 of that file."),
        Column("data", pa.string(), "Folder of the export that it was trained on."),
        Column("data_content", pa.string(), "Which pictures are in which split, as the export's manifest has it."),
        Column("release", pa.string(), "Release that the export was made from; null for none.", nullable=True),
        Column("run", pa.string(), "Run that the export was made from; null for what was current.", nullable=True),
        Column("manifest", pa.string(), "The manifest of the export, as JSON: table versions, filters, models, files."),
        Column("params", pa.string(), "How it was trained, as JSON."),
        Column("metrics", pa.string(), "What the library measured on the validation split, as JSON."),
        Column("licence", pa.string(), "Licence of the weights."),
        Column("seconds", pa.float64(), "How long it took.", "s"),
        Column("created_ns", pa.int64(), "When it was done.", "ns since 1970"),
    ),
)
