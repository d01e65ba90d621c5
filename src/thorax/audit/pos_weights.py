"""Which weights of the positives can give the F1 and the Hamming loss that Liz et al. 2022 print?

The paper says "weighted cross entropy with logits" and gives no formula. A binormal model answers: the scores of the images
without a class are normal with deviation 1, those of the images with it are the same shifted by d, so that the AUC is
Phi(d / sqrt 2). A network that was trained with positives of weight w, and has learnt all it can, says yes above a probability
of 0.5 where w * prevalence * density with the class exceeds (1 - prevalence) * density without it. With
w = ((1 - prevalence) / prevalence) ** exponent, sensitivity and false positive rate follow, and from these F1 and Hamming loss.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from thorax.audit.counts import IMAGES
from thorax.config import Training
from thorax.evaluation import confusion
from thorax.report import published_numbers
from thorax.report.cells import printed
from thorax.report.typeset import Cell, Group, Table, write

NAME = "liz2022-specific"
NETWORKS = ("DenseNet201", "EfficientNetB0", "InceptionV3", "InceptionResNetV2", "Xception")
VOTES = "PTC-lw"  # its AUC is that of 0/1 votes, so it gives sensitivity - false positive rate
EXPONENTS = (0.0, 0.5, 0.65, 0.7, 1.0)  # shown
VALUE_COLUMNS = ("model", "source", "exponent", "f1", "hamming")
PUBLISHED, MODEL, SAME_HAMMING, HIGHEST_F1, NEAREST = (
    "published", "model", "exponent with the published Hamming loss", "exponent with the highest F1", "exponent nearest to both",
)  # fmt: skip
_SEARCHED = np.linspace(0, 1, 201)
_RATES = np.linspace(0, 1, 20_001)


def operating_points(prevalence: np.ndarray, area: np.ndarray, exponent: float) -> np.ndarray:
    """Return sensitivity and false positive rate of each class above a probability of 0.5, (k, 2) float64.

    `prevalence` is the (k,) share of the images with the class, `area` its (k,) AUC. At 0.5 and below nothing is known of the
    class, so every image has the same probability.
    """
    shift = np.sqrt(2) * ndtri(np.maximum(area, 0.5))
    needed = (1 - exponent) * np.log((1 - prevalence) / prevalence)  # what the log of the likelihood ratio must exceed
    known = shift > 0
    constant = np.where(needed < 0, -np.inf, np.inf)  # the ratio is 1 throughout: all are a yes, or none
    limit = np.where(known, shift / 2 + needed / np.where(known, shift, 1), constant)
    return np.stack([ndtr(shift - limit), ndtr(-limit)], axis=-1)


def scores(prevalence: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, float]:
    """Return F1 (mean of both sides) of each class, (k,), and the Hamming loss of all, from (k, 2) of `operating_points`."""
    counts = _counts(prevalence, *rates.T)
    return confusion.macro_f1(counts), float(confusion.hamming(counts))


def implied_weights(prevalence: np.ndarray, area: np.ndarray, f1: np.ndarray) -> np.ndarray:
    """Return the weight of the positives that a class's votes imply: from their AUC and F1, with the model's densities.

    The AUC of votes is (1 + sensitivity - false positive rate) / 2. With it F1 (the mean of both sides) gives both rates, these
    give d and the limit, and the limit gives w. All are (k,) float64; the weight is nan where all votes are the same.
    """
    weights = np.full(len(area), np.nan)
    for k, (share, excess, wanted) in enumerate(zip(prevalence, 2 * area - 1, f1, strict=True)):
        if excess <= 0:
            continue
        alarms = _RATES[1:-1] * (1 - excess)
        found = confusion.macro_f1(_counts(np.full(len(alarms), share), alarms + excess, alarms))
        alarm = alarms[np.abs(found - wanted).argmin()]
        limit = -ndtri(alarm)
        shift = limit + ndtri(alarm + excess)
        weights[k] = (1 - share) / share * np.exp(shift**2 / 2 - shift * limit)
    return weights


def slope(prevalence: np.ndarray, weights: np.ndarray) -> float:
    """Return the least-squares slope of log weight against log((1 - prevalence) / prevalence), of the classes that have a weight."""
    known = np.isfinite(weights)
    ratios = np.log((1 - prevalence[known]) / prevalence[known])
    return float(np.polyfit(ratios, np.log(weights[known]), 1)[0])


def compare() -> tuple[pd.DataFrame, np.ndarray, float]:
    """Compare published scores (Tables 8 and 9) with the model's: `VALUE_COLUMNS`, the implied weights of `VOTES`, their `slope`."""
    printed = published_numbers.load("liz2022", "8", "specific")
    printed = printed[printed["class"] != "Global"].set_index(["model", "metric", "label"])["value"].sort_index()
    overall = published_numbers.load("liz2022", "9", "specific").set_index(["model", "metric"])["value"]
    shares = prevalences()
    labels = list(shares)
    prevalence = np.array([shares[label] for label in labels])
    rows: list[tuple[str, str, float, float, float]] = []
    for network in NETWORKS:
        area = printed[network, "auc"][labels].to_numpy()

        def expected(exponent: float, area: np.ndarray = area) -> tuple[float, float]:
            f1, hamming = scores(prevalence, operating_points(prevalence, area, exponent))
            return float(f1.mean()), hamming

        wanted = np.array([overall[network, "f1"], overall[network, "hamming"]])
        searched = np.array([expected(exponent) for exponent in _SEARCHED])
        found = {
            SAME_HAMMING: _SEARCHED[np.abs(searched[:, 1] - wanted[1]).argmin()],
            HIGHEST_F1: _SEARCHED[searched[:, 0].argmax()],
            NEAREST: _SEARCHED[((searched - wanted) ** 2).sum(axis=1).argmin()],
        }
        rows.append((network, PUBLISHED, np.nan, *wanted))
        rows += [(network, MODEL, exponent, *expected(exponent)) for exponent in EXPONENTS]
        rows += [(network, source, float(exponent), *expected(exponent)) for source, exponent in found.items()]
    votes = (printed[VOTES, metric][labels].to_numpy() for metric in ("auc", "f1"))
    weights = implied_weights(prevalence, *votes)
    return pd.DataFrame(rows, columns=list(VALUE_COLUMNS)), weights[np.isfinite(weights)], slope(prevalence, weights)


def prevalences() -> dict[str, float]:
    """Return the share of the images with each class, from Table 8's "# Samples" (of all images, or of the test part: see the audit)."""
    counts = published_numbers.published_counts()
    counts = counts[counts["table"] == "padchest-specific"]
    images = counts[counts["row"] == IMAGES].set_index("counts")["published"]
    classes = counts[counts["counts"].isin(("all", "test")) & (counts["row"] != IMAGES)]
    return {row.row: row.published / images[row.counts] for row in classes.itertuples()}


def make_weight_audit(out: Path) -> None:
    """Write {NAME}.html, .md, .tex and .csv into a folder."""
    values, weights, found = compare()
    write(_table(values, weights, found), values, out, NAME)


def _counts(share: np.ndarray, sensitivity: np.ndarray, alarms: np.ndarray) -> np.ndarray:
    """Return shares of all images in the order of `confusion.counted`, (k, 4)."""
    without = 1 - share
    return np.stack([share * sensitivity, without * alarms, share * (1 - sensitivity), without * (1 - alarms)], axis=-1)


def _table(values: pd.DataFrame, weights: np.ndarray, found: float) -> Table:
    default = Training.model_fields["pos_weight_exponent"].default
    groups = [Group("published", ("F1", "Hamming"))]
    groups += [Group(f"exponent {exponent:g}", ("F1", "Hamming"), section="model") for exponent in EXPONENTS]
    groups += [Group("exponent", ("highest F1", "same Hamming", "nearest to both"), section="exponent")]
    rows = []
    for network, of_network in values.groupby("model", sort=False):
        by_source = of_network.set_index("source")
        shown = []
        for row in of_network[of_network["source"].isin((PUBLISHED, MODEL))].itertuples():
            shown += [Cell(printed(value), bold=row.exponent == default) for value in (row.f1, row.hamming)]
        shown += [Cell(printed(by_source.loc[source, "exponent"], 2)) for source in (HIGHEST_F1, SAME_HAMMING, NEAREST)]
        rows.append((str(network), tuple(shown)))
    nearest = values.loc[values["source"] == NEAREST, "exponent"]
    best, wanted = (values.loc[values["source"] == source, "f1"].to_numpy() for source in (HIGHEST_F1, PUBLISHED))
    short = wanted - best
    return Table(
        title="Liz et al. 2022: F1 and Hamming loss that weights of the positives can give",
        caption="Published: Table 9. The others are what the AUCs of Table 8 allow at a threshold of 0.5 if positives weigh "
        "(negatives / positives) to the power of an exponent: a binormal model per class, prevalences from Table 8's '# Samples'. "
        "F1 is the mean of both sides, and of all classes.",
        data="From published numbers alone: no image and no metadata was read.",
        groups=tuple(groups),
        name_heading="Network",
        rows=tuple(rows),
        notes=(
            f"The exponent nearest to both published numbers (least squares) is {nearest.min():.2f} to {nearest.max():.2f}; the default "
            f"of pos_weight_exponent is {default:g}, in bold.",
            f"The votes of {VOTES} (hard AUC and F1 of {len(weights)} classes; the others never have a yes) imply weights of "
            f"{weights.min():.1f} to {weights.max():.0f}; their slope against negatives / positives, both as logarithms, is {found:.2f}.",
            f"The AUC does not depend on the weights. The model's highest F1 is {short.min():.3f} to {short.max():.3f} below the published "
            "one: real scores need not be binormal.",
        ),
    )
