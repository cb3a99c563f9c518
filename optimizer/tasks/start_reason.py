"""What put a task before the others: a code for programs and translations, an English sentence for everyone else."""

from __future__ import annotations

from enum import Enum


class StartReason(Enum):
    """`value` is the code. `sentence` follows "Started …:" in a task's timeline and in the event log."""

    ARRIVAL = ("arrival", "it was next in order of arrival")
    PRIORITY = ("priority", "its priority was higher")
    FAIR_SHARE = ("fair_share", "its owner had used the devices less lately")
    SHORTEST = ("shortest", "it had the least work left")
    STARVING = ("starving", "it was due first and others had passed it for too long")
    TOGETHER = ("together", "its model had the round and there was room for one more")
    RESIDENT_MODEL = (
        "resident_model",
        "its model was loaded, and loading another one for those before it would have cost more",
    )
    POLICY = ("policy", "the scheduling policy in use put it first")
    FITS = ("only_one_that_fits", "what those before it need was not there")

    sentence: str

    def __new__(cls, code: str, sentence: str) -> StartReason:
        reason = object.__new__(cls)
        reason._value_ = code
        reason.sentence = sentence
        return reason
