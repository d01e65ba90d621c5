"""Writing a bundle from the results of an experiment."""

import hashlib
import json
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import thorax
from thorax import backend, config
from thorax.bundles import contents as described
from thorax.bundles import reference
from thorax.bundles.card import cards
from thorax.bundles.contents import Contents, File, Manifest
from thorax.bundles.facts import read_facts
from thorax.bundles.patients import digest_of_split
from thorax.bundles.precision import sampled, store_exactly, store_network
from thorax.config import fixed_threshold
from thorax.evaluation import calibration
from thorax.evaluation.ensembles import learn
from thorax.evaluation.metrics import read_models
from thorax.labels.term_tree import TermTree
from thorax.models.batches import LabelledImages, load_part, second_view
from thorax.report.tables.results import best_model
from thorax.storage import joins, store
from thorax.storage.schemas import class_columns

_DATE = (1980, 1, 1, 0, 0, 0)  # of every file, so that the same contents are the same bytes
Files = dict[str, bytes]


def make_bundle(
    settings: config.Bundled, labels: Path, split: Path, ingested: Path, images: Sequence[Path], networks: Mapping[str, Path],
    predictions: Mapping[str, Path], thresholds: Path, scaling: Path, metrics: Path, catalog: Path, out: Path,
    ensembles: Mapping[str, Path] | None = None, records: Mapping[str, Path] | None = None, boxes: Path | None = None,
    segmenter: Path | None = None, pairs: Path | None = None, second_ingested: Path | None = None,
    second_images: Sequence[Path] | None = None, replicates: int = 1000, threads: int = 1,
) -> str:  # fmt: skip
    """Write the bundle of an experiment's model; return a sentence about it.

    The model is that of `settings.model`; without a name it is the network with the highest mean AUC on the validation images. Of each
    network that it may need, `networks`, `predictions` and `records` name the files, and `ensembles` that of the ensemble; `boxes` is the
    table of scores of the heatmaps. Validation images are used to measure how far the stored networks are from the trained ones. Nothing
    of what is written names an image, a patient or a folder.
    """
    backend.prepare(0, threads)
    measured, limits = store.read_table(metrics), store.read_table(thresholds)
    model = settings.model or best_model(measured, predictions, ())
    ensemble = settings.experiment.ensembles.get(model)
    members = list(ensemble.members) if ensemble else [model]
    sample = sampled(load_part(labels, split, ingested, images, "val", second_view(pairs, second_ingested, second_images)))
    files: Files = {}
    stored: dict[str, Any] = {}
    for member in members:
        fields, graph, weights = store_network(networks[member], sample, predictions[member], threads)
        files |= _files(f"networks/{member}", graph, weights)
        trained, record = settings.experiment.member(member), _record((records or {}).get(member))
        stored[member] = {**fields, "backbone": trained.backbone, "seed": trained.seed, "trained": record}
        kept = f"{fields['precision']} with {fields['fraction_bits']} bits of fraction"
        print(f"{member}: {kept}, changes a probability by {fields['difference']:.1e} at most", file=sys.stderr, flush=True)
    lungs = None
    if segmenter and settings.segmenter:
        fields, graph, weights = store_exactly(segmenter)
        files |= _files(described.SEGMENTER, graph, weights)
        lungs = {**fields, "size": settings.segmenter.size}
    truth, models = read_models(labels, split, predictions, ensembles or {}, model)
    scores, classes = models[model], class_columns(truth)
    fitted = None if calibration.are_votes(scores) else calibration.read_scaling(scaling, model)
    values = {
        "experiment": settings.name, "title": settings.experiment.title, "model": model, "networks": stored, "classes": classes,
        "split": digest_of_split(split),
        "segmenter": lungs, "ensemble": ensemble, "exclusive": settings.experiment.exclusive,
        "terms": terms_of(settings.label_set, settings.dataset.archive, classes), "rule": settings.threshold_rule,
        "reference": _reference(load_part(labels, split, ingested, images, "train")),
        "learnt": _learnt(ensemble, truth, labels, predictions), "scaling": _scaling(fitted),
        "thresholds": _thresholds(settings.experiment.thresholds, limits[limits["model"] == model], classes),
    }  # fmt: skip
    contents = config.parse(Contents, values | _inputs(settings) | _origin(settings), str(out))
    facts = read_facts(model, contents.rule, labels, split, catalog, scores, replicates, settings.experiment.seed)
    card, sheet = cards(settings, contents, facts, measured, fitted, limits, boxes, store.read_table(ingested))
    files |= {described.CARD: card.encode(), described.DATA_SHEET: sheet.encode()}
    digest = write(contents, files, out)
    return f"{out}: {model}, {len(members)} networks, {out.stat().st_size / 1e6:.1f} MB, SHA-256 {digest}"


def write(contents: Contents, files: Files, out: Path) -> str:
    """Write a bundle with these files besides its manifest; return its SHA-256. The same contents and files give the same bytes."""
    listed = {name: File(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()) for name, data in sorted(files.items())}
    manifest = Manifest(files=listed, contents=contents).model_dump(mode="json")
    text = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
    with store.atomic(out) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, data in {described.MANIFEST: text.encode(), **dict(sorted(files.items()))}.items():
                info = zipfile.ZipInfo(name, _DATE)
                info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
                archive.writestr(info, data)
        with temporary.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def terms_of(label_set: config.LabelSet, archive: str, classes: Sequence[str]) -> dict[str, list[str]]:
    """The labels of the archive that each class stands for: of a general class, all terms of the tree below it, and itself."""
    if label_set.grouping == "specific":
        return {name: [name] for name in classes}
    tree = TermTree.of_archive(archive, "grouping", "write specific").climbed(label_set.two_parents)
    found: dict[str, list[str]] = {name: [] for name in classes}
    for term in sorted(tree.parents):
        for name in tree.general_among(term, classes):
            found[name].append(term)
    return {name: terms or [name] for name, terms in found.items()}


def _files(name: str, graph: bytes, weights: bytes) -> Files:
    return {f"{name}.json": graph, f"{name}.weights": weights}


def _record(path: Path | None) -> dict[str, Any]:
    """What a training recorded that its users may need."""
    recorded = json.loads(path.read_text(encoding="utf-8")) if path else {}
    kept = {key: recorded[key] for key in ("device", "epochs", "precision", "versions") if key in recorded}
    remark = recorded.get("weights", {}).get("remark")
    return kept | ({"remark": remark} if remark else {})


def _inputs(settings: config.Bundled) -> dict[str, Any]:
    """What makes an image of a file."""

    def reading(dataset: config.Dataset, views: list[str]) -> dict[str, Any]:
        return {**dataset.model_dump(include={"archive", "dicom_window", "max_pixels"}), "views": views}

    second = settings.second_dataset
    return {
        "dataset": reading(settings.dataset, settings.label_set.views),
        "image_set": settings.image_set,
        "second_dataset": reading(second, second.views) if second else None,
        "second_image_set": settings.second_image_set,
    }


def _origin(settings: config.Bundled) -> dict[str, Any]:
    """Where the model comes from."""
    *packages, _ = backend.versions()
    seeds = {"split": settings.split.seed, "experiment": settings.experiment.seed}
    return {
        "provenance": settings.experiment.provenance,
        "versions": {"thorax": thorax.__version__, **dict(package.split() for package in packages)},
        "seeds": seeds | ({"segmenter": settings.segmenter.seed} if settings.segmenter else {}),
    }


def _learnt(
    ensemble: config.Ensemble | None, truth: pd.DataFrame, labels: Path, predictions: Mapping[str, Path]
) -> dict[str, list[list[float | None]]]:
    """What the ensemble's rule learnt from all validation images; None stands for a number that could not be learnt."""
    if ensemble is None:
        return {}
    val, classes = truth[truth["split"] == "val"], class_columns(truth)
    logits = [joins.read_scores(predictions[member], truth, labels, classes).loc[val.index] for member in ensemble.members]
    learnt = learn(ensemble, np.stack(logits).astype(np.float64), val[classes].to_numpy())
    return {name: [[float(x) if np.isfinite(x) else None for x in row] for row in rows] for name, rows in learnt.items()}


def _reference(train: LabelledImages) -> dict[str, Any] | None:
    """What the training images look like, so that unlike ones are recognised; of two views, the first."""
    return reference.summarise(train.take(reference.rows_to_describe(len(train)))[..., 0])


def _scaling(fitted: pd.DataFrame | None) -> dict[str, tuple[float, float]]:
    """Slope and intercept of each class that Platt scaling could be fitted to."""
    if fitted is None:
        return {}
    rows = fitted[(fitted["kind"] == "platt") & np.isfinite(fitted["slope"].astype(float))]
    return {
        name: (slope, intercept) for name, slope, intercept in rows[["class", "slope", "intercept"]].itertuples(index=False)
    }


def _thresholds(rules: Sequence[str], tuned: pd.DataFrame, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """By rule and class the threshold: that of a fixed rule, or from a model's rows of `schemas.THRESHOLDS`."""
    found = {}
    for rule in rules:
        fixed, values = fixed_threshold(rule), tuned[tuned["rule"] == rule].set_index("class")["value"]
        found[rule] = {name: float(values[name]) if fixed is None else fixed for name in classes}
    return found
