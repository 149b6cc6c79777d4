"""The health flags of records and their meanings. `NAME=VALUE` is the flag NAME, with a number to it."""

from __future__ import annotations

from enum import StrEnum


class Flag(StrEnum):
    """A flag that the harness, an attack or a defense may raise. Plugins may raise others."""

    meaning: str

    def __new__(cls, name: str, meaning: str) -> Flag:
        """A member that is the flag's name as a string and carries its meaning."""
        flag = str.__new__(cls, name)
        flag._value_ = name
        flag.meaning = meaning
        return flag

    AS_UNTRAINED = (
        "as-untrained",
        "the samples are not shown to be nearer to real images than those of an untrained network: the row ranks "
        "nothing",
    )
    ATTRIBUTE_ONE_SIDED = (
        "attribute-one-sided",
        "too few images have one of the two values of the attribute: the AUC that needs them is left out",
    )
    CALIBRATION_LEAKS = (
        "calibration-leaks",
        "the attack is stronger on its calibration images than on the reported ones (one-sided test at 0.1 %), as if "
        "it had been fitted to them",
    )
    CEILING_BELOW_GUARANTEE = (
        "ceiling-below-guarantee",
        "even if all guesses were right, so few could not refute the guarantee: it takes more canaries",
    )
    CONSTANT_SCORES = ("constant-scores", "the attack gave every image the same score: its result says nothing")
    CONTROL_MISBEHAVES = (
        "control-misbehaves",
        "a negative control, which cannot leak, was seen to leak: until that is explained, membership results are void",
    )
    DETECTS_STYLE = (
        "detects-style",
        "the attack scores the model's own samples above nonmembers, and members not shown to be above those: it tells "
        "what the model finds easy, or its samples are copies of members",
    )
    EPSILON_ABOVE_GUARANTEE = (
        "epsilon-above-guarantee",
        "the lower bound of epsilon is above the stated epsilon; where the guarantee holds, this happens in 1 of 20 "
        "trainings at most",
    )
    FEW_GROUPS = (
        "few-groups",
        "fewer than ten groups (people, patients, scenes) on a side: no interval is worth much",
    )
    FEW_IMAGES = (
        "few-images",
        "too few images to spare any for calibration: signs as published, exact tests in the place of intervals, and "
        "no attack that learns from images whose membership is known",
    )
    FEW_NEGATIVES = (
        "few-negatives",
        "a TPR was measured at a false-positive rate below 10 / nonmembers: it rests on a handful of images and is "
        "not used to rank",
    )
    FORGET_SET_TOO_SMALL = (
        "forget-set-too-small",
        "fewer than two images to forget, or to compare them with: no forget-set AUC is computed",
    )
    INERT = (
        "inert",
        "answers and samples equal the base's bit for bit: the defense changed nothing here, and the row ranks nothing",
    )
    INVERTED = (
        "inverted",
        "the interval of an AUC lies below 0.5: members score lower than nonmembers, which is leakage too",
    )
    LPIPS_MISSING = ("lpips-missing", "the weights of LPIPS are not on this machine: what needs them is left out")
    NEVER_COPIED = (
        "never-copied",
        "the model was to be trained until it copies, and training ended before it did: that a defense above it shows "
        "no copies is no finding",
    )
    NO_NULL_PROMPTS = (
        "no-null-prompts",
        "fewer than two prompts that were never trained on, or none to choose a threshold by: none is flagged",
    )
    NON_FINITE = ("non-finite", "some score was NaN or infinite; such a score counts against the attack")
    NOT_APPLICABLE = (
        "not-applicable",
        "the attack was not run: the release lacks a part that it needs, the question makes no sense of this release, "
        'or network weights are missing (the reason stands in "Attacks" and in the record)',
    )
    NOT_BROUGHT_BACK = (
        "not-brought-back",
        "within the steps tried, the forgotten label did not come back in the release or in the retrained model",
    )
    NOT_TRAINED_HERE = (
        "not-trained-here",
        "the network was handed in: shadow, retrained and canary models of it cannot be trained",
    )
    OVERLAPPING_SIDES = (
        "overlapping-sides",
        "nonmembers show what a member shows, mirrored, moved, cropped or relit (overlap.csv lists them): they were "
        "trained on in all but name, and leaks look smaller than they are",
    )
    RANDOMISED_ANSWERS = (
        "randomised-answers",
        "the service answers the same query differently each time, and the attack did not average",
    )
    SHARED_GROUPS = (
        "shared-groups",
        "some people (patients, scenes) have images on both sides: their nonmembers were not used, but others of the "
        "same person were, so that a model which knows people leaks more of them than numbers by image say",
    )
    SMALLER_BATCHES = (
        "smaller-batches",
        "memory ran out and compute batches were halved: numbers agree within rounding, not bit for bit",
    )
    SSCD_MISSING = ("sscd-missing", "the weights of SSCD are not on this machine: what needs them is left out")
    TIED_SCORES = ("tied-scores", "equal scores keep the realised false-positive rate below its target")
    TOO_FEW_CANARIES = (
        "too-few-canaries",
        "one half of the canaries has fewer than two included or fewer than two left out: no bound of epsilon",
    )
    TOO_FEW_IMAGES = (
        "too-few-images",
        "too few samples, training images or held-out images for a measure that the suite asks for: it is left out",
    )
    TRACK_INVALID = (
        "track-invalid",
        "the blind baseline tells members from nonmembers without the model: the split itself leaks, and membership "
        "results on it are void",
    )
    UNGUARDED_SHADOWS = (
        "unguarded-shadows",
        "the shadow models answer without the sampling-time defense, which the attack does not know",
    )
    WEAK_DELTA = (
        "weak-delta",
        "delta is not below 1 / number of training images: the guarantee would allow one image to be given away whole",
    )
    WEAKER_WITH_MORE_ACCESS = (
        "weaker-with-more-access",
        "the attack finds less at the weights than at the answers (one-sided test at 1 %): either the answers give "
        "more away, or the attack could be stronger",
    )


def explain_flag(flag: str) -> str:
    """The meaning of a flag as a record carries it (`NAME` or `NAME=VALUE`)."""
    name = flag.partition("=")[0]
    known = {str(one): one.meaning for one in Flag}
    return known.get(name, "no explanation on file: see the attack or defense that raised it")
