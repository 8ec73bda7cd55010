"""Tables of loops of active learning: each loop, its rounds, and the steps of these."""

import pyarrow as pa

from schemas.declaration import Column, Table

_LOOP = Column("loop", pa.string(), "Name of the loop, and of the model that it trains.")
_ROUND = Column("round", pa.int64(), "Number of the round, from 1.", low=1)

LOOPS = Table(
    "loops",
    "Loops of active learning, as their records say: what was requested, where each stands, and why.",
    key=("loop",),
    columns=(
        _LOOP,
        Column("job_id", pa.string(), "The job that it is."),
        Column(
            "state",
            pa.string(),
            "The step that it is at (`annotating`, `routing`, `escalating`, `waiting_for_people`, `releasing`, "
            "`training`, `evaluating`, `promoting`, `deciding`), or how it ended: `target_met`, `budget_spent`, "
            "`no_gain`, `few_corrections`, `nothing_left` or `stopped`.",
        ),
        Column("reason", pa.string(), "Why it is there."),
        Column("request", pa.string(), "What was requested, as JSON."),
        Column("by", pa.string(), "Who started it."),
        Column("started_ns", pa.int64(), "When it was started.", "ns since 1970"),
        Column("ended_ns", pa.int64(), "When it ended; null for one that has not.", "ns since 1970", nullable=True),
    ),
)

LOOP_ROUNDS = Table(
    "loop_rounds",
    "Rounds of loops: what people were asked, what that cost, and what came of it.",
    key=("loop", "round"),
    columns=(
        _LOOP,
        _ROUND,
        Column("step", pa.string(), "The step that it is at, or its last one."),
        Column("is_undone", pa.bool_(), "Whether somebody has undone it."),
        Column("frames_asked", pa.int64(), "Frames that people were asked about.", "frames", nullable=True, low=0),
        Column("frames_random", pa.int64(), "Those of them that chance chose.", "frames", nullable=True, low=0),
        Column("frames_reviewed", pa.int64(), "Those that people have reviewed.", "frames", nullable=True, low=0),
        Column("approved", pa.int64(), "Objects that people let stand.", "objects", nullable=True, low=0),
        Column("corrected", pa.int64(), "Objects that they corrected.", "objects", nullable=True, low=0),
        Column("added", pa.int64(), "Objects that they added.", "objects", nullable=True, low=0),
        Column("rejected", pa.int64(), "Objects that they rejected.", "objects", nullable=True, low=0),
        Column(
            "errors_uncertain",
            pa.float64(),
            "Share of the reviewed frames with an error, of those that uncertainty chose; null for none.",
            "0..1",
            nullable=True,
            low=0,
            high=1,
        ),
        Column(
            "errors_random",
            pa.float64(),
            "The same of those that chance chose: what the model errs on where nothing says so.",
            "0..1",
            nullable=True,
            low=0,
            high=1,
        ),
        Column("usd", pa.float64(), "Cost of questions to vision language models.", "USD", nullable=True, low=0),
        Column("training_minutes", pa.float64(), "Duration of the training.", "min", nullable=True, low=0),
        Column("release", pa.string(), "The release that it made.", nullable=True),
        Column("version", pa.int64(), "Version of the model that it trained.", nullable=True),
        Column("model_id", pa.string(), "Hash of the weights of that version.", nullable=True),
        Column("evaluation_id", pa.string(), "The evaluation of that version.", nullable=True),
        Column("ap", pa.float64(), "AP on the frames that the loop is measured on.", nullable=True),
        Column("ap50", pa.float64(), "AP50 there.", nullable=True),
        Column("difference", pa.float64(), "Mean difference of AP to the version before.", nullable=True),
        Column("low", pa.float64(), "5 % bound of that difference.", nullable=True),
        Column("high", pa.float64(), "95 % bound of that difference.", nullable=True),
        Column("verdict", pa.string(), "`first`, `better`, `not_better`, `worse` or `cannot_tell`.", nullable=True),
        Column("promoted", pa.string(), "The alias that refers to the version since; null for none.", nullable=True),
        Column("decision", pa.string(), "`continue`, or how the loop ended.", nullable=True),
        Column("why", pa.string(), "Why.", nullable=True),
    ),
)

LOOP_STEPS = Table(
    "loop_steps",
    "Steps of the rounds of loops, each with the job that did it.",
    key=("loop", "round", "step"),
    columns=(
        _LOOP,
        _ROUND,
        Column(
            "step",
            pa.string(),
            "The step: `annotate`, `route`, `escalate`, `review`, `release`, `train`, "
            "`evaluate`, `promote` or `decide`.",
        ),
        Column("job_id", pa.string(), "The job that does it; null for none.", nullable=True),
        Column("state", pa.string(), "`begun`, `done` or `skipped`."),
        Column("why", pa.string(), "What came of it, or why it was skipped; null while it lasts.", nullable=True),
        Column("result", pa.string(), "Its figures, as JSON; null while it lasts.", nullable=True),
        Column("began_ns", pa.int64(), "When it began.", "ns since 1970"),
        Column("ended_ns", pa.int64(), "When it was done.", "ns since 1970", nullable=True),
    ),
)
