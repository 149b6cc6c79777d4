"""A made-up but plausible run on disk: baseline, CPSample at four alphas, reject-and-resample, an untrained control."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from leakbench.results.record import Metric, Record
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import auc, clopper_pearson, difference, flags, tpr_at_fpr

ALPHAS = (0.001, 0.1, 0.25, 0.5)
SIGNAL = {"loss": 1.0, "secmi": 1.6, "pia": 1.9}  # distance of members from nonmembers, in standard deviations
TARGETS = (0.1, 0.01)
IMAGES = 250
SAMPLES = 600

# truth: AUC signal left in the answers, share of copies, Frechet distance
POINTS = [
    {"point": "baseline", "defense": "baseline", "role": "baseline", "truth": (1.0, 0.12, 4.0)},
    *(
        {"point": f"cpsample alpha={alpha:g}", "defense": "cpsample", "role": "defense", "truth": truth}
        for alpha, truth in zip(
            ALPHAS, [(0.9, 0.10, 4.1), (0.5, 0.06, 4.6), (0.2, 0.02, 5.6), (0.0, 0.01, 7.5)], strict=True
        )
    ),
    {"point": "reject_resample", "defense": "reject_resample", "role": "defense", "truth": (1.0, 0.01, 4.2)},
    {"point": "untrained", "defense": "untrained", "role": "control", "truth": (0.0, 0.0, 160.0)},
]
SWEEPS = {"selective_amnesia": 3, "erasediff": 3, "cpsample": 3, "dp_sgd": 2, "salun": 2}
METHODS = ("ambient", "amg", "augment", "dedup", "dropout", "early_stop", "erasediff-other-label", "esd", "finetune")
METHODS += ("neg_grad", "noise_data", "reject_resample", "retrain", "sfron", "siss")


def crowd():
    """30 points of 22 defenses, as a suite of all of them has."""
    swept = [(name, f"{name} alpha={0.1 * (k + 1):.1f}") for name, count in SWEEPS.items() for k in range(count)]
    found = [*swept, *((name, name) for name in METHODS)]
    kept = [p for p in POINTS if p["role"] != "defense"]
    for k, (defense, name) in enumerate(found):
        draw = rng("crowd", name)
        truth = (float(draw.random()), 0.12 * float(draw.random()), 4.0 * float(np.exp(1.2 * draw.random())))
        kept.insert(k + 1, {"point": name, "defense": defense, "role": "defense", "truth": truth})
    return kept


def rng(*words):
    """Numbers that depend on what they are for, and not on the order in which they are drawn."""
    return np.random.default_rng(zlib.crc32(repr(words).encode()))


def identity(point, attack, family, access, seed, features=""):
    alpha = {"alpha": float(point["point"].split("=")[1])} if "=" in point["point"] else {}
    return dict(
        suite="quick",
        dataset="digits",
        model="mlp-256x4",
        defense=point["defense"],
        point=point["point"],
        defense_params={**alpha, "baseline.steps": 8000},
        attack=attack,
        adaptive=attack.startswith("adaptive_"),
        attack_params={"t": 200} if attack in SIGNAL else {},
        family=family,
        features=features,
        access=access,
        seed=seed,
        run={"timings": {"score": 1.5, "prepare": 0.25}},
    )


def metric(name, found):
    return Metric(name=name, value=found.value, ci_low=found.low, ci_high=found.high, n=found.n)


def membership(point, attack, access, seed):
    left = 1.0 if access == "WEIGHTS" and point["role"] != "control" else point["truth"][0]
    signal = SIGNAL.get(attack, 0.0) * left
    who = (attack,) if attack == "blind" else (attack, point["point"] if left < 1 else "raw")
    draw = rng(seed, *who)
    names = ("member_scores", "nonmember_scores", "calibration_member_scores", "calibration_nonmember_scores")
    arrays = {n: draw.normal(signal * (i % 2 == 0), 1, IMAGES) for i, n in enumerate(names)}
    member, nonmember, inside, outside = arrays.values()
    tprs = {f"tpr@fpr={t:g}": tpr_at_fpr(member, nonmember, t) for t in TARGETS}
    metrics = [metric("auc", auc(member, nonmember)), *(metric(n, t.estimate) for n, t in tprs.items())]
    metrics.append(metric("calibration_auc", auc(inside, outside)))
    raised = list(flags(member, nonmember, TARGETS))
    return Record(
        **identity(point, attack, "membership", access, seed), metrics=metrics, queries=2.0, flags=raised
    ), arrays


def replication(point, by, seed, images):
    features = "pixels" if by == "pixels" else "classifier"
    draw = rng(seed, point["point"], by)
    null = rng(seed, by).normal(-0.3, 0.05, 300)
    threshold = float(np.quantile(null, 0.99))
    share = point["truth"][1]
    similarity = np.where(
        draw.random(SAMPLES) < share, draw.normal(-0.1, 0.02, SAMPLES), draw.normal(-0.32, 0.05, SAMPLES)
    )
    copies, chance = int((similarity > threshold).sum()), int((null > threshold).sum())
    metrics = [
        metric("copy_rate", clopper_pearson(copies, SAMPLES)),
        metric("copy_rate_null", clopper_pearson(chance, 300)),
        metric("copy_rate_excess", difference(copies, SAMPLES, chance, 300)),
        Metric(name="unique_copies", value=float(copies), n=SAMPLES),
    ]
    arrays = {"similarity": similarity, "nearest": draw.integers(0, 400, SAMPLES), "null_similarity": null}
    if images:
        best = np.sort(similarity)[::-1][:12]
        nearest = draw.integers(0, 256, (12, 8, 8, 1))
        samples = np.clip(nearest + draw.normal(0, 200 * -best[:, None, None, None]), 0, 255)
        arrays |= {
            "pair_nearest": nearest.astype(np.uint8),
            "pair_samples": samples.astype(np.uint8),
            "pair_similarity": best,
        }
    who = identity(point, f"nearest_copy_{by}", "replication", "SAMPLES", seed, features)
    return Record(**who, metrics=metrics, info={"threshold": threshold}), arrays


def quality(point, seed):
    value = point["truth"][2] * (1 + 0.02 * rng(seed, point["point"], "fd").normal())
    half = 0.05 * value
    metrics = [
        Metric(name="frechet", value=0.9 * value, ci_low=0.9 * value - half, ci_high=0.9 * value + half, n=500),
        Metric(name="frechet_heldout", value=value, ci_low=value - half, ci_high=value + half, n=500),
        Metric(name="frechet_floor", value=3.1, ci_low=2.9, ci_high=3.3, n=500),
        Metric(name="kid", value=0.01, ci_low=0.005, ci_high=0.015, n=500),
        Metric(name="recall", value=None, n=500),
    ]
    info = {"defense": gate(point)} if point["defense"] == "cpsample" else {}
    who = identity(point, "quality", "quality", "SAMPLES", seed, "classifier")
    return Record(**who, metrics=metrics, info=info), {"mean": np.zeros(2), "covariance": np.eye(2), "n": np.array(500)}


def gate(point):
    alpha, t = float(point["point"].split("=")[1]), list(range(0, 1000, 100))
    early = [max(0.0, 1 - x / 800) for x in t]
    right = {
        "member": [0.5 + 0.49 * e for e in early],
        "heldout": [0.5] * len(t),
        "confident": [0.3 * e for e in early],
    }
    rates = {str(x): e * min(1, 2 * alpha) for x, e in zip(t, early, strict=True)}
    return {"gate_rate_by_t": rates, "classifier_accuracy_by_t": {"t": t, **right}}


def plan(seeds, points=POINTS):
    split = {"member": 400, "calibration_in": 100, "nonmember": 400, "near_duplicates_removed": 12}
    command = ["leakbench", "run", "quick", "--set", "split.members=400"]
    return {
        "suite": "quick",
        "headline": "tpr@fpr=0.1",
        "seeds": list(seeds),
        "command": command,
        "points": [{key: value for key, value in p.items() if key != "truth"} for p in points],
        "split": split,
    }


def cells(seeds, images, points=POINTS):
    for point in points:
        for seed in seeds:
            yield quality(point, seed)
            yield membership(point, "blind", "NONE", seed)
            yield from (membership(point, a, level, seed) for a in SIGNAL for level in ("DENOISER", "WEIGHTS"))
            yield from (replication(point, by, seed, images) for by in ("pixels", "features"))


def build(
    path, seeds=(0, 1), images=True, keep=lambda record: True, change=lambda record: record, order=1, points=POINTS
):
    """Writes a run folder; `keep` and `change` shape its records, `order` -1 writes them the other way round."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "plan.json").write_text(json.dumps(plan(seeds, points)))
    for record, arrays in list(cells(seeds, images, points))[::order]:
        if keep(record):
            save_record(path, change(record), arrays)
    return RunFolder(path)


# name: access, signal, queries, and what it had beside: membership labels, public images, shadow models
ARMY = {
    "blind": ("NONE", 0.0, 0, {"labels_consumed": 120}),
    "gan_leaks": ("SAMPLES", 0.3, 0, {}),
    "monte_carlo": ("SAMPLES", 0.2, 0, {}),
    "rediffuse": ("API", 0.8, 10, {}),
    "rediffuse_nn": ("API", 0.9, 10, {"labels_consumed": 120}),
    "inpainting": ("API", 0.5, 20, {}),
    "adaptive_cpsample": ("DENOISER", 1.3, 32, {}),
    **{name: ("DENOISER", 1.0 + 0.08 * i, 2 * i + 1, {}) for i, name in enumerate(("loss", "pfami", "pia", "sima"))},
    **{name: ("DENOISER", 1.2, 10, {"shadow_models": 16}) for name in ("lira_online", "lira_offline", "rmia")},
    **{name: ("DENOISER", 1.4, 12, {"labels_consumed": 120}) for name in ("cdi", "secmi_nn")},
    "quantile": ("DENOISER", 1.1, 4, {"public_images": 200}),
    "likelihood": ("DENOISER", -0.6, 80, {}),  # its members score lower
    "gsa1": ("WEIGHTS", 1.8, 5, {"labels_consumed": 120}),
    "gsa2": ("WEIGHTS", 1.9, 50, {"shadow_models": 4}),
}


UNASKED = "reads what only some defense ships (gate)"


def fighter(point, attack, access, seed, classes=5):
    """One attack's record, with labels and rows of the images, and what the attacks of its release shared."""
    raw, signal, queries, facts = ARMY[attack]
    knows = attack.startswith("adaptive_")
    if knows and point["defense"] != attack.removeprefix("adaptive_"):
        return Record(
            **identity(point, attack, "membership", access, seed),
            metrics=[],
            flags=["not-applicable"],
            info={"skipped": UNASKED},
        ), {}
    whole = raw in ("NONE", "WEIGHTS") or access == "WEIGHTS" or point["role"] == "baseline"
    left = 1.0 if whole else point["truth"][0]
    left = (
        0.0
        if point["role"] == "control" and raw != "NONE"
        else 0.6 + 0.4 * left
        if knows and access == "DENOISER"
        else left
    )
    draw = rng(seed, attack) if left == 1.0 else rng(seed, attack, point["point"])
    names = ("member_scores", "nonmember_scores", "calibration_member_scores", "calibration_nonmember_scores")
    arrays = {n: draw.normal(signal * left * (i % 2 == 0), 1, IMAGES) for i, n in enumerate(names)}
    groups = np.arange(IMAGES) % classes
    arrays["member_scores"] += 1.5 * signal * left * (groups == 3)  # a class that is more exposed than the others
    arrays |= {"member_labels": groups, "nonmember_labels": groups}
    arrays |= {"member_rows": np.arange(IMAGES), "nonmember_rows": IMAGES + np.arange(IMAGES)}
    member, nonmember, inside, outside = (arrays[name] for name in names)
    sign = 1.0 if auc(inside, outside).value >= 0.5 else -1.0
    metrics = [metric("auc", auc(member, nonmember)), metric("calibration_auc", auc(inside, outside))]
    metrics.append(metric("oriented_auc", auc(sign * member, sign * nonmember)))
    for t in TARGETS:
        metrics.append(metric(f"tpr@fpr={t:g}", tpr_at_fpr(member, nonmember, t).estimate))
        metrics.append(metric(f"oriented_tpr@fpr={t:g}", tpr_at_fpr(sign * member, sign * nonmember, t).estimate))
    info = {"orientation": sign, "labels_consumed": 0, "public_images": 0, "shadow_models": 0, **facts}
    raised = [*flags(member, nonmember, TARGETS), *(["inverted"] if metrics[0].ci_high < 0.5 else [])]
    if attack == "cdi":
        metrics += sets_of(member, nonmember)
        info["set_images_needed"] = 20 if left > 0.5 else None
    record = Record(
        **identity(point, attack, "membership", access, seed)
        | {"run": {"calls": {"together": 214.0, "apart": 365.0, "attacks": 23}}},
        metrics=metrics,
        queries=float(queries),
        flags=sorted(raised),
        info=info,
    )
    return record, arrays


def sets_of(member, nonmember):
    """Metrics of data-set inference, with made-up p values."""
    p = 0.5 if auc(member, nonmember).low < 0.5 else 0.05
    return [
        *(Metric(name=f"set_p_value@images={n}", value=p / n, ci_low=0.0, ci_high=p, n=n) for n in (5, 20, 100)),
        *(Metric(name=f"set_null_p_value@images={n}", value=0.49, ci_low=0.03, ci_high=0.97, n=n) for n in (5, 20)),
    ]


def muster(path, seeds=(0, 1), points=POINTS, attacks=tuple(ARMY), copies=("pixels", "features")):
    """A run of many attacks: a row at the attack's own access level, and those at DENOISER at the weights as well."""
    path.mkdir(parents=True, exist_ok=True)
    entries = [{"id": name, "name": name} for name in attacks]
    told = plan(seeds, points) | {"ensemble": "strongest 1", "settings": {"attack": entries}}
    (path / "plan.json").write_text(json.dumps(told))
    for point in points:
        for seed in seeds:
            save_record(path, *quality(point, seed))
            for by in copies:
                save_record(path, *replication(point, by, seed, False))
            for attack in attacks:
                access = ARMY[attack][0]
                for level in ("DENOISER", "WEIGHTS") if access == "DENOISER" else (access,):
                    save_record(path, *fighter(point, attack, level, seed))
    return RunFolder(path)


@pytest.fixture(scope="session")
def muster_run():
    """The builder of runs of many attacks."""
    return muster


@pytest.fixture(scope="session")
def army(tmp_path_factory):
    """A run of all of them against three points and a control."""
    names = ("baseline", "cpsample alpha=0.1", "cpsample alpha=0.5", "reject_resample", "untrained")
    return muster(tmp_path_factory.mktemp("army"), points=[p for p in POINTS if p["point"] in names])


@pytest.fixture(scope="session")
def make_run():
    """The builder of synthetic runs."""
    return build


@pytest.fixture(scope="session")
def crowded():
    """The points of a run of many defenses."""
    return crowd()


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The whole synthetic run; tests that write reports into it must not change its records."""
    return build(tmp_path_factory.mktemp("run"))


def told(found, name, n=100):
    """A metric from a number, or from (value, low, high)."""
    value, low, high = found if isinstance(found, tuple) else (found, None, None)
    return Metric(name=name, value=value, ci_low=low, ci_high=high, n=n)


def tell(path, points, seeds=(0,)):
    """Writes a run of points that say what their records hold, so that a test can work out by hand what follows.

    A point: point, defense, role, chain, bases, params, claims, flags, facts (info["defense"]), timings, quality
    {metric: number}, attacks {attack: {metric: number}} at DENOISER. A list in place of a number has one entry a seed.
    """
    path.mkdir(parents=True, exist_ok=True)
    plan = [{key: p[key] for key in ("point", "defense", "role", "chain", "bases") if key in p} for p in points]
    (path / "plan.json").write_text(json.dumps({"suite": "told", "seeds": list(seeds), "points": plan}))
    for p in points:
        for i, seed in enumerate(seeds):
            for attack, metrics in {"quality": p.get("quality", {}), **p.get("attacks", {})}.items():
                save_record(path, _record(p, seed, i, attack, metrics), {})
    return RunFolder(path)


def _record(p, seed, i, attack, metrics):
    def of_seed(values):
        return {key: v[i] if isinstance(v, list) else v for key, v in values.items()}

    scored = attack != "quality"
    return Record(
        **{"suite": "told", "dataset": "digits", "model": "mlp", "defense": p["defense"], "point": p["point"]},
        **{"attack": attack, "family": "membership" if scored else "quality", "seed": seed},
        defense_params=p.get("params", {}),
        features="" if scored else "classifier",
        access="DENOISER" if scored else "SAMPLES",
        metrics=[told(value, name) for name, value in of_seed(metrics).items()],
        flags=p.get("flags", []),
        guarantee=p.get("guarantee", {}),
        info={} if scored else {"defense": of_seed(p.get("facts", {}))},
        run={"timings": {} if scored else of_seed(p.get("timings", {}))},
    )


@pytest.fixture(scope="session")
def tell_run():
    """The builder of runs from numbers, for tests of sections: `tell_run(path, points)` writes a run folder whose
    records hold just what `points` says (see `tell`), and returns it as a RunFolder."""
    return tell
