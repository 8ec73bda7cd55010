"""Tables of trained models: their training data, figures of each epoch, versions, and what names refer to."""

import pyarrow as pa

from schemas.declaration import Column, Table

_BOX = pa.struct(
    [
        pa.field("category", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("bbox_x", pa.float32(), nullable=False),
        pa.field("bbox_y", pa.float32(), nullable=False),
        pa.field("bbox_w", pa.float32(), nullable=False),
        pa.field("bbox_h", pa.float32(), nullable=False),
    ]
)

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

TRAIN_EPOCHS = Table(
    "train_epochs",
    "Figures of each epoch of a training: one row per figure, also where the training was interrupted.",
    key=("job_id", "epoch", "split", "name", "category"),
    columns=(
        Column("job_id", pa.string(), "The training."),
        Column("epoch", pa.int64(), "Number of the epoch, from 1."),
        Column("split", pa.string(), "Split of the images that were measured: `train` or `val`."),
        Column("name", pa.string(), "The figure: `loss`, one of COCO's twelve (`AP`, `AP50`, …), `seconds`."),
        Column("category", pa.string(), "The category that it is of; empty for all."),
        Column("value", pa.float64(), "Its value; null where it is not defined.", nullable=True),
    ),
)

TRAIN_SAMPLES = Table(
    "train_samples",
    "What a network in training found on a few images of the split `val`, after each epoch: one row per image.",
    key=("job_id", "epoch", "stream_id", "frame_idx"),
    columns=(
        Column("job_id", pa.string(), "The training."),
        Column("epoch", pa.int64(), "Number of the epoch, from 1."),
        Column("stream_id", pa.string(), "Stream of the frame."),
        Column("frame_idx", pa.int64(), "Number of the frame."),
        Column("boxes", pa.list_(_BOX), "What was found from a score of 0.2 on, the highest score first."),
    ),
)

MODEL_VERSIONS = Table(
    "model_versions",
    "Versions of trained models by name, numbered from 1. Nothing changes or deletes a row.",
    key=("name", "version"),
    columns=(
        Column("name", pa.string(), "Name of the model."),
        Column("version", pa.int64(), "Number of the version, from 1."),
        Column(
            "model_id", pa.string(), "Hash of the weights: their row in `models`, `weights_hash` of what they found."
        ),
        Column("job_id", pa.string(), "The training that made it."),
        Column("release", pa.string(), "The release that it was trained on.", nullable=True),
        Column("detector", pa.string(), "The detector that runs it, as `annotate.detector` names it."),
        Column("folder", pa.string(), "Folder of the weights, below the workspace."),
        Column("classes", pa.list_(pa.string()), "Its categories, in order."),
        Column("best_epoch", pa.int64(), "The epoch that the weights are of.", nullable=True),
        Column("note", pa.string(), "What was noted when the training was started.", nullable=True),
        Column("created_ns", pa.int64(), "When it was registered.", "ns since 1970"),
    ),
)

MODEL_EXPORTS = Table(
    "model_exports",
    "Trained models as files for other runtimes, which are kept only where they find the same on real frames.",
    key=("model_id", "format"),
    columns=(
        Column("model_id", pa.string(), "Hash of the weights: their row in `models`."),
        Column("format", pa.string(), "The format: `onnx`."),
        Column("file", pa.string(), "The file, below the workspace; null for none.", nullable=True),
        Column("sha256", pa.string(), "Hash of the file: `weights_hash` of what it finds.", nullable=True),
        Column("reason", pa.string(), "Why there is no file; null where there is one.", nullable=True),
        Column("frames", pa.int64(), "Frames on which both were compared.", low=0),
        Column("boxes", pa.int64(), "Boxes of a score of 0.2 or more that they found there.", low=0),
        Column("lost", pa.int64(), "Those without a partner: same category, overlap 0.99, score within 0.01.", low=0),
        Column("overlap", pa.float64(), "Smallest overlap of partners; null for none.", nullable=True),
        Column("scores", pa.float64(), "Largest difference of their scores.", nullable=True),
        Column("job_id", pa.string(), "The job that exported it."),
        Column("created_ns", pa.int64(), "When.", "ns since 1970"),
    ),
)

ALIASES = Table(
    "aliases",
    "What names of models referred to, and since when: a row per change. Nothing changes or deletes a row; the row "
    "with the highest number holds.",
    key=("name", "alias", "number"),
    columns=(
        Column("name", pa.string(), "Name of the model."),
        Column("alias", pa.string(), "The alias: `champion`, or another one."),
        Column("number", pa.int64(), "Number of the change of this alias, from 1."),
        Column("version", pa.int64(), "The version that it refers to from then on; 0 for none."),
        Column("previous", pa.int64(), "The version that it referred to before; null for none.", nullable=True),
        Column("by", pa.string(), "Who changed it."),
        Column("reason", pa.string(), "Why.", nullable=True),
        Column("is_forced", pa.bool_(), "Whether it was changed although evidence for it was missing, or against it."),
        Column("at_ns", pa.int64(), "When.", "ns since 1970"),
        Column("evaluation_id", pa.string(), "The evaluation that speaks for it; null for none.", nullable=True),
    ),
)
