"""How right the verdicts are on real pictures: `python -m tests.evidence FOLDER` writes docs/evaluation.md's tables."""
