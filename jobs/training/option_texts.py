"""What each option of a training is, for the command line and for forms."""

from __future__ import annotations

from collections.abc import Mapping

TEXTS: Mapping[str, str] = {
    "release": "Release to train on; its splits stay the same for good.",
    "model": "What to start from: torchvision:NAME, a name of `winnow models list`, or a folder.",
    "name": "Name of the model; each training of it is a version.",
    "epochs": "Passes over the images.",
    "size": "Side to scale images to, in pixels.",
    "batch": "Images at a time.",
    "seed": "Seed of the random numbers.",
    "augment": "How far images are altered.",
    "learning_rate": "Highest learning rate.",
    "patience": "End after so many epochs without a better AP.",
    "minutes": "End after so many minutes.",
    "threads": "Threads of the processor to use.",
    "classes": "Only these categories, separated by commas.",
    "where": "Only frames on which this SQL condition holds.",
    "only_reviewed": "Only frames that a person has reviewed.",
    "pseudo": "Objects that no person has confirmed count from this score on.",
    "split": "Shares of the splits; test is never trained on.",
    "split_by": "What stays together in one split.",
    "split_seed": "Another seed gives other splits, with a record of their own.",
    "allow_leaks": "Train although frames of several splits are much alike.",
    "onnx": "Also write an ONNX file, if it finds the same on real frames.",
    "note": "A note on the version.",
}
