"""How right the verdicts are on real images: `python -m tests.evidence FOLDER` writes docs/evaluation.md's tables."""
