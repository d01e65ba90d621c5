"""The command line: `thorax VERB` parses its arguments, calls one function and prints one sentence per error.

Each verb imports what it needs only when it is called, so that a table starts without TensorFlow.
"""

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

from pydantic import BaseModel

from thorax import config
from thorax.errors import Terminated, ThoraxError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)
Arguments = argparse.Namespace
TERMINATED = 128 + signal.SIGTERM


@contextmanager
def _termination_unwinds() -> Iterator[None]:
    """Raise at SIGTERM (sent by schedulers, time limits and shutdowns) within the block; a second one ends at once."""

    def terminate(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated(TERMINATED)

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def main(argv: list[str] | None = None) -> int:
    """Run one verb; return the exit status: 0, 1 for an explained error, 130 for an interrupt, 143 for a termination."""
    arguments = _parser().parse_args(argv)
    try:
        with _termination_unwinds():
            arguments.run(arguments)
    except Terminated as stop:
        print(f"thorax: terminated; {_what_stays(stop)}.", file=sys.stderr)
        return TERMINATED
    except KeyboardInterrupt as stop:
        print(f"thorax: interrupted; {_what_stays(stop)}.", file=sys.stderr)
        return 130
    except ThoraxError as error:
        if arguments.debug:
            raise
        print(f"thorax: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads has seen enough, as in `thorax cost | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:  # the last resort: a defect of ours, said in one line
        if arguments.debug:
            raise
        print(
            f"thorax: unexpected {type(error).__name__}: {error} (this is a defect; the same command with --debug shows where).",
            file=sys.stderr,
        )
        return 1
    return 0


def _what_stays(stop: BaseException) -> str:
    """What an interrupted verb leaves; most leave nothing, the others say it in a note."""
    return "; ".join(getattr(stop, "__notes__", [])) or "nothing half-written was kept"


def _download(a: Arguments) -> None:
    from thorax.archives.download import registry

    if a.list:
        print(registry.describe(a.group, a.root))
    else:
        registry.download(a.group, a.root, a.out)


def _phantom(a: Arguments) -> None:
    from thorax import phantom

    phantom.make_archive(_settings(a, config.Phantom), a.root, a.threads, a.archive)


def _manifest(a: Arguments) -> None:
    from thorax import archives
    from thorax.archives import manifest

    if a.settings is None:
        select = lambda: archives.selection_of_pairs(a.root)
    else:
        settings = _settings(a, config.Dataset)
        select = lambda: archives.selection(settings)
    manifest.make_manifest(a.root, a.out, a.memory, select)


def _catalog(a: Arguments) -> None:
    from thorax import archives

    archives.make_catalog(_settings(a, config.Dataset), a.out, a.boxes)


def _ingest(a: Arguments) -> None:
    from thorax.images import ingest

    ingest.ingest_shard(_settings(a, config.Dataset), a.catalog, a.shard, a.array, a.table, a.threads)


def _merge_ingested(a: Arguments) -> None:
    from thorax.images import ingest

    ingest.merge_ingested(_settings(a, config.Dataset), a.tables, a.out, a.duplicates)


def _labels(a: Arguments) -> None:
    from thorax.labels import label_sets

    label_sets.make_label_set(
        _settings(a, config.LabelSet),
        a.archive,
        a.catalog,
        a.ingested,
        a.out,
        a.report,
        a.second_views,
        a.second_ingested,
        a.general,
        [(key, name) for key, _, name in (pair.partition("=") for pair in a.named)],
    )


def _pairs_of_views(a: Arguments) -> None:
    from thorax.labels import two_views

    two_views.make_pairs(a.labels, a.catalog, a.second_views, a.second_ingested, a.out)


def _split(a: Arguments) -> None:
    from thorax.labels import splits

    splits.make_split(_settings(a, config.Split), a.labels, a.catalog, a.out, a.quality, a.duplicates)


def _audit(a: Arguments) -> None:
    from thorax.audit import counts

    counts.make_label_set_audit(_settings(a, config.LabelSet), a.archive, a.catalog, a.labels, a.split, a.out)


def _audit_overview(a: Arguments) -> None:
    from thorax.audit import counts

    counts.make_overview(_named(a.catalogs), a.audited, _named(a.qualities), a.absent, a.out)


def _audit_weights(a: Arguments) -> None:
    from thorax.audit import pos_weights

    pos_weights.make_weight_audit(a.out)


def _compare_splitters(a: Arguments) -> None:
    from thorax.audit import splitters

    splitters.make_comparison(a.labels, _settings(a, config.Split), a.out)


def _segmenter(a: Arguments) -> None:
    from thorax.images import segmenter

    segmenter.train_segmenter(_settings(a, config.Segmenter), a.split, a.out, a.history, a.threads)


def _cross_validate_lungs(a: Arguments) -> None:
    from thorax.images import segmenter
    from thorax.storage import store

    scores = segmenter.cross_validate(_settings(a, config.Segmenter), a.folds, a.threads)
    store.write_text(scores.to_csv(index=False, float_format="%.4f"), a.out)
    print(f"Dice, mean over {len(scores)} images of patients that the network did not learn from: {scores['dice'].mean():.3f}")


def _lungs(a: Arguments) -> None:
    from thorax.images import segmenter

    segmenter.segment_shard(
        _settings(a, config.Segmenter), a.model, a.catalog, a.ingested, a.array, a.shard, a.table, a.masks, a.threads
    )


def _images(a: Arguments) -> None:
    from thorax.images import crops

    crops.make_images(_settings(a, config.ImageSet), a.array, a.ingested, a.shard, a.lungs, a.out)


def _train(a: Arguments) -> None:
    from thorax.models import fit

    fit.train(
        _settings(a, config.Training), a.labels, a.split, a.ingested, a.images, a.weights, a.out, a.history, a.work, a.threads,
        _second_view(a), a.epochs, a.record,
    )  # fmt: skip


def _second_view(a: Arguments) -> Any:
    from thorax.models.batches import SecondView

    given = [value for value in (a.pairs, a.second_ingested, a.second_images) if value]
    if len(given) not in (0, 3):
        raise ThoraxError("--pairs, --second-ingested and --second-images go together: give all three, or none for one view.")
    return SecondView(a.pairs, a.second_ingested, a.second_images) if given else None


def _cases(a: Arguments) -> None:
    from thorax.labels import cases

    cases.choose_cases(a.labels, a.split, a.count, a.seed, a.out, a.classes)


def _predict(a: Arguments) -> None:
    from thorax.models import predict

    predict.predict(
        a.model, a.labels, a.split, a.ingested, a.images, a.out, a.classes, a.cases, a.heatmaps, a.attention, threads=a.threads,
        second=_second_view(a),
    )  # fmt: skip


def _baseline(a: Arguments) -> None:
    from thorax.models import baseline

    baseline.make_baseline(a.images, a.ingested, a.labels, a.split, a.out)


def _ensemble(a: Arguments) -> None:
    from thorax.evaluation import ensembles

    ensembles.make_ensemble(_settings(a, config.Ensemble), a.predictions, a.out, a.labels, a.split)


def _cascade(a: Arguments) -> None:
    from thorax.evaluation import cascades

    settings = _settings(a, config.LabelSet)
    cascades.make_cascade(settings, a.archive, a.general, a.inside, a.logits, a.classes, a.labels, a.split, a.out)


def _metrics(a: Arguments) -> None:
    from thorax.evaluation import metrics

    metrics.make_metrics(
        a.labels, a.split, _named(a.predictions), _named(a.ensembles), a.out, a.summary, a.seed, a.replicates,
        a.rules, _named(a.thresholds), a.exclusive,
    )  # fmt: skip


def _thresholds(a: Arguments) -> None:
    from thorax.evaluation import metrics

    metrics.make_thresholds(a.labels, a.split, a.scores, a.logits, a.rules, a.out)


def _tables(a: Arguments) -> None:
    from thorax.report.tables import results

    results.make_tables(a.title, a.data, a.metrics, a.labels, a.split, a.members, a.ensembles, a.out, a.rule, a.f1_metric)


def _threshold_tables(a: Arguments) -> None:
    from thorax.report.tables import thresholds

    thresholds.make_threshold_tables(
        a.title, a.data, a.metrics, a.labels, a.split, a.members, a.ensembles, _named(a.thresholds), a.rules, a.out, a.exclusive,
        a.f1_metric, a.learned,
    )  # fmt: skip


def _beside(a: Arguments) -> None:
    from thorax.report.tables import beside_paper

    beside = _settings(a, config.Beside)
    beside_paper.make_beside(
        a.title, a.data, beside, a.metrics, a.members, a.ensembles, a.out, a.archive, a.split, a.official_lists
    )


def _statements(a: Arguments) -> None:
    from thorax.report.tables import statements

    statements.make_statements(a.title, a.data, _settings(a, config.Beside), a.metrics, a.members, a.out)


def _systems(a: Arguments) -> None:
    from thorax.report.tables import systems

    systems.make_systems(a.archive, a.table, a.out)


def _ablation(a: Arguments) -> None:
    from thorax.report.tables import beside_paper

    columns = _settings(a, config.AblationColumns)
    beside_paper.make_ablation(
        a.title, a.data, columns, _named(a.metrics), a.members, a.ensembles, a.out, a.archive, a.split, a.official_lists
    )


def _side_by_side(a: Arguments) -> None:
    from thorax.report.tables import side_by_side

    side_by_side.make_side_by_side(a.title, a.data, a.labels, a.split, _named(a.metrics), a.columns, a.out, a.rule, a.f1_metric)


def _cross_table(a: Arguments) -> None:
    from thorax.report.tables import cross_archive

    archives = {name: str(archive) for name, archive in _named(a.archives).items()}
    cross_archive.make_cross(
        _settings(a, config.CrossEvaluation), a.data, archives, _named(a.labels), _named(a.splits), _named(a.predictions),
        _named(a.ensembles), a.out, a.replicates,
    )  # fmt: skip


def _figure_cross(a: Arguments) -> None:
    from thorax.report.figures import cross_archive

    archives = {name: str(archive) for name, archive in _named(a.archives).items()}
    cross_archive.make_cross_figure(a.matrix, archives, a.title, a.out)


def _summary(a: Arguments) -> None:
    from thorax.report.tables import results

    results.make_summary(_named(a.labels), _named(a.splits), a.out, a.data)


def _screening(a: Arguments) -> None:
    from thorax.report.tables import screening

    screening.make_screening(
        _named(a.ingested), _named(a.duplicates), _named(a.catalogs), _of_datasets("--splits", "SPLIT", a.splits),
        _of_datasets("--lungs", "SEGMENTER", a.lungs), a.out, a.data,
    )  # fmt: skip


def _of_datasets(option: str, kind: str, pairs: list[str]) -> dict[str, list[Path]]:
    """Paths by DATASET/NAME, where `kind` says what has the name."""
    found: dict[str, list[Path]] = {}
    for pair in pairs:
        for name, path in _named([pair]).items():
            if not all(name.partition("/")):
                raise ThoraxError(f"{option} {pair!r} is not of the form DATASET/{kind}=PATH: name both, parted by a slash.")
            found.setdefault(name, []).append(path)
    return found


def _overview(a: Arguments) -> None:
    from thorax.report.tables import overview

    overview.make_overview(
        _settings(a, config.Studies), _named(a.metrics), _named(a.labels), _named(a.splits), a.benchmarks, a.logs, a.out
    )


def _paper_page(a: Arguments) -> None:
    from thorax.report import pages

    pages.make_page(_settings(a, config.PaperPage), a.captions, a.out)


def _csv_page(a: Arguments) -> None:
    from thorax.report import typeset

    typeset.csv_page(_there(a.csv), a.title, a.caption, a.out)


def _figure_labels(a: Arguments) -> None:
    from thorax.report.figures import labels

    labels.label_distribution(a.labels, a.split, a.title, a.out)


def _figure_shares(a: Arguments) -> None:
    from thorax.report.figures import labels

    labels.label_shares(a.labels, a.split, a.paper, a.title, a.out)


def _figure_cooccurrence(a: Arguments) -> None:
    from thorax.report.figures import labels

    labels.cooccurrence(a.labels, a.title, a.out, a.classes)


def _figure_terms(a: Arguments) -> None:
    from thorax.report.figures import terms

    terms.term_section(a.catalog, _settings(a, config.LabelSet), a.archive, a.title, a.out, a.term)


def _figure_training(a: Arguments) -> None:
    from thorax.report.figures import training

    training.training_curves(_named(a.histories), a.title, a.out)


def _figure_epochs(a: Arguments) -> None:
    from thorax.report.figures import training

    training.epoch_curves(_named(a.epochs), a.title, a.out, a.f1_metric)


def _figure_lungs(a: Arguments) -> None:
    from thorax.report.figures import lungs

    lungs.make_lungs_figure(a.catalog, a.ingested, a.arrays, a.lungs, a.masks, a.images, a.seed, a.out)


def _figure_roc(a: Arguments) -> None:
    from thorax.report.figures import roc

    roc.roc_curves(a.labels, a.split, a.scores, a.logits, a.model, a.title, a.data, a.out)


def _figure_classes(a: Arguments) -> None:
    from thorax.report.figures import heatmaps

    heatmaps.make_classes_figure(
        a.cases, _named(a.heatmaps), _named(a.predictions), a.ensemble, a.labels, a.boxes, a.ingested, a.arrays, a.lungs,
        a.title, a.out,
    )  # fmt: skip


def _figure_attention(a: Arguments) -> None:
    from thorax.report.figures import attention

    attention.make_attention_figure(_named(a.attention), a.cases, a.ingested, a.arrays, a.lungs, a.title, a.out)


def _dvc(a: Arguments) -> None:
    from thorax.workflow import stages

    stages.check() if a.check else stages.write(a.snakemake)


def _plan(a: Arguments) -> None:
    from thorax.workflow import stages

    stages.write_plan(a.out)


def _record(a: Arguments) -> None:
    from thorax.workflow import versions

    print(versions.record())


def _sync(a: Arguments) -> None:
    from thorax.workflow import versions

    print(versions.sync())


def _cost(a: Arguments) -> None:
    from thorax.workflow import cost

    print(cost.show(a.snakemake, a.rates, a.cores_per_gpu, a.json))


def _config_reference(a: Arguments) -> None:
    from thorax.config import reference

    reference.write_reference(a.out)


def _show(a: Arguments) -> None:
    print("\n".join(_there(table).read_text(encoding="utf-8") for table in a.table), end="")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors suggest what was meant."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and end with status 2."""
        if wrong := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            message += did_you_mean(wrong[1], [name.strip("' ") for name in wrong[2].split(",")])
        super().error(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="thorax",
        description="The steps of the pipeline, one verb each, in the order of use. Snakemake calls them; so can you.",
    )
    shared = _Parser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, run: Callable[[Arguments], None], text: str, *options: tuple[str, dict[str, Any]]) -> None:
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", parents=[shared])
        sub.set_defaults(run=run)
        for flag, details in options:
            sub.add_argument(flag, **details)

    settings = ("--settings", {"required": True, "metavar": "YAML", "help": "this step's block of the configuration"})
    threads = ("--threads", {"type": _at_least(1), "default": 1, "help": "CPU threads (default 1)"})
    seed = ("--seed", {"type": _at_least(0), "default": 0, "help": "same seed, same result (default 0)"})
    shard = ("--shard", {"type": _at_least(0), "required": True, "help": "number of the shard, from 0"})
    archive = ("--archive", {"required": True, "choices": _choices(config.Dataset, "archive"), "help": "whose labels"})
    catalog, ingested = _path("--catalog", "catalog table"), _path("--ingested", "table of ingested images")
    labels, split = _path("--labels", "label set"), _path("--split", "split")
    images = _paths("--images", "packed training images, all shards in order")
    data = ("--data", {"required": True, "choices": _choices(config.Experiment, "data"), "help": "what it was run on"})
    title = ("--title", {"required": True, "help": "heading"})
    rules = (
        "--rules",
        {"nargs": "+", "type": _rule, "default": ["fixed-0.5"], "metavar": "RULE",
         "help": "threshold rules: fixed-0.5 and the like, f1, f1_positive, youden (default fixed-0.5)"},
    )  # fmt: skip
    thresholds = _pairs("--thresholds", "thresholds of each model; needed for f1, f1_positive and youden", required=False)
    exclusive = ("--exclusive", {"metavar": "CLASS", "help": "every rule also with this class excluding the rest"})
    models = ("--members", {"nargs": "+", "required": True}), ("--ensembles", {"nargs": "*", "default": []})

    verb(
        "download", _download, "fetch, check and unpack what may be downloaded, and say how to get the rest",
        ("group", {"nargs": "+", "metavar": "GROUP",
                   "help": "nih, montgomery, shenzhen, padchest, chexpert, or weights/ and a backbone, as in weights/Xception"}),
        _path("--root", "folder to put it in (default: under data/, or resources/weights/)", required=False),
        ("--list", {"action": "store_true", "help": "show the files with length, checksum, terms and page, and fetch nothing"}),
        _path("--out", "CSV of files, lengths and checksums, to write", required=False),
    )  # fmt: skip
    verb(
        "phantom", _phantom, "make an archive of synthetic radiographs", settings, _path("--root", "folder to make"), threads,
        ("--archive", {**archive[1], "required": False, "default": "padchest", "help": "whose form it has (default padchest)"}),
    )  # fmt: skip
    verb(
        "manifest", _manifest, "list what is read of an archive's folder, with a digest of every file",
        _path("--root", "the archive's folder"), _path("--out", "manifest to write"),
        ("--settings", {"metavar": "YAML", "help": "the data set; without it the folder holds radiographs with lung masks"}),
        _path("--memory", "table of files seen earlier, which spares reading unchanged ones again; read and written"),
    )  # fmt: skip
    verb(
        "catalog", _catalog, "read an archive's metadata into one table",
        settings, _path("--out", "catalog to write"), _path("--boxes", "table of boxes to write"),
    )  # fmt: skip
    verb(
        "ingest", _ingest, "open every original image once and pack it as 512 x 512 grey",
        settings, catalog, shard, _path("--array", "packed images to write"), _path("--table", "table to write"), threads,
    )  # fmt: skip
    verb(
        "merge-ingested", _merge_ingested, "join the shards' tables, check the share of bad images, and find those that show the same",
        settings, _paths("--tables", "the shards' tables"), _path("--out", "table to write"),
        _path("--duplicates", "table of images that show the same, to write"),
    )  # fmt: skip
    verb(
        "labels", _labels, "group, count and select the classes of a label set",
        settings, archive, catalog,
        _path("--ingested", "table of ingested images; without it every image counts", required=False),
        ("--second-views", {"nargs": "*", "default": [], "metavar": "VIEW", "help": "of a label set of studies: their second views"}),
        ("--second-ingested", {"nargs": "?", "type": Path, "metavar": "PATH",
                               "help": "table of the images of these views; without it every one counts"}),
        _path("--general", "label set that `inside` names", required=False),
        ("--named", {"nargs": "*", "default": [], "metavar": "KEY=CLASS", "help": "settings that name a class, which must be kept"}),
        _path("--out", "label set to write"), _path("--report", "CSV of classes kept and dropped, to write"),
    )  # fmt: skip
    verb(
        "pairs", _pairs_of_views, "name the image of another view that each labelled image is seen together with",
        labels, catalog, ("--second-views", {"nargs": "+", "required": True, "metavar": "VIEW", "help": "the other views"}),
        _path("--second-ingested", "table of the images of these views"), _path("--out", "table to write"),
    )  # fmt: skip
    verb(
        "split", _split, "assign patients to train, val and test, stratified over all classes",
        settings, _paths("--labels", "the label sets that share the split"),
        _path("--catalog", "catalog table: the archive's official lists and who labelled an image; needed with official: true", required=False),
        _path("--duplicates", "table of images that show the same; their patients stay together", required=False),
        _path("--out", "split to write"), _path("--quality", "CSV of counts and quotas, to write"),
    )  # fmt: skip
    folder = _path("--out", "folder to write to")
    verb(
        "audit", _audit, "a label set's counts beside those in papers, from metadata alone",
        settings, archive, catalog, labels, split, folder,
    )  # fmt: skip
    verb(
        "audit-overview", _audit_overview, "archives, label sets and splits beside the published numbers",
        _pairs("--catalogs", "data sets"), _paths("--audited", "CSV file of each label set's audit"),
        _pairs("--qualities", "each split's CSV of counts and quotas"),
        ("--absent", {"nargs": "*", "default": [], "help": "data sets whose metadata is not here"}), folder,
    )  # fmt: skip
    verb("audit-weights", _audit_weights, "weights of the positives that the published F1 and Hamming loss allow", folder)
    verb(
        "compare-splitters", _compare_splitters, "our split of one label set beside those of other libraries",
        settings, labels, folder,
    )  # fmt: skip
    verb(
        "segmenter", _segmenter, "train the U-Net for lungs",
        settings, _path("--split", "use only pairs of this split's training patients", required=False),
        _path("--out", "network to write"), _path("--history", "CSV to write"), threads,
    )  # fmt: skip
    verb(
        "cross-validate-lungs", _cross_validate_lungs, "measure the U-Net's Dice on patients that it did not learn from",
        settings, ("--folds", {"type": _at_least(2), "default": 5, "help": "parts of the patients (default 5)"}),
        _path("--out", "CSV of one Dice per image, to write"), threads,
    )  # fmt: skip
    verb(
        "lungs", _lungs, "segment the lungs of one shard and find the crop boxes",
        settings, _path("--model", "U-Net"), catalog, ingested, _path("--array", "the shard's packed images"), shard,
        _path("--table", "table to write"), _path("--masks", "masks to write"), threads,
    )  # fmt: skip
    verb(
        "images", _images, "crop and resize one shard to training images",
        settings, _path("--array", "the shard's packed images"), ingested, shard,
        _path("--lungs", "the shard's table of crop boxes", required=False), _path("--out", "training images to write"),
    )  # fmt: skip
    second = (
        _path("--pairs", "of networks of two views, the second image of each", required=False),
        _path("--second-ingested", "table of the second images", required=False),
        _paths("--second-images", "packed training images of the second view, all shards in order", required=False),
    )
    verb(
        "train", _train, "train one network",
        settings, labels, split, ingested, images, *second, _path("--weights", "file with ImageNet weights", required=False),
        _path("--out", "network to write"), _path("--history", "CSV to write"),
        _path("--epochs", "CSV of the test images after every epoch, to write; needed for test_every_epoch", required=False),
        _path("--record", "JSON to write: device, seconds, epochs, images per second, versions", required=False),
        ("--work", {"type": _expanded, "default": Path("work"), "metavar": "PATH", "help": "folder of resume states (default work)"}),
        threads,
    )  # fmt: skip
    verb(
        "cases", _cases, "choose test images to explain",
        labels, split, ("--count", {"type": _at_least(1), "required": True, "help": "how many"}), seed,
        ("--classes", {"nargs": "*", "default": [], "metavar": "CLASS", "help": "classes that come first"}),
        _path("--out", "table to write"),
    )  # fmt: skip
    verb(
        "predict", _predict, "logits of validation and test images, or of another archive's; heatmaps and attention of the cases",
        _path("--model", "network"), labels, split, ingested, images, *second,
        _path("--classes", "label set that the network was trained on, if --labels is another one", required=False),
        _path("--cases", "table of cases", required=False), _path("--out", "predictions to write"),
        _path("--heatmaps", "maps of the cases to write", required=False),
        _path("--attention", "attention weights of the cases to write", required=False), threads,
    )  # fmt: skip
    verb(
        "baseline", _baseline, "logistic regression on principal components of 32 x 32 pixels",
        images, ingested, labels, split, _path("--out", "predictions to write"),
    )  # fmt: skip
    verb(
        "ensemble", _ensemble, "combine members",
        settings, _paths("--predictions", "the members' predictions"),
        _path("--labels", "label set; for rules that learn from validation images", required=False),
        _path("--split", "split; for rules that learn from validation images", required=False), _path("--out", "table to write"),
    )  # fmt: skip
    scores = (
        _path("--scores", "predictions or ensemble"),
        ("--logits", {"action": "store_true", "help": "the scores are logits, as a network's predictions are"}),
    )
    verb(
        "cascade", _cascade, "multiply the probabilities of general classes by those of specific ones inside them",
        settings, archive, _path("--general", "predictions or ensemble of the general classes"),
        _path("--inside", "the same of the classes inside them"),
        ("--logits", {"action": "store_true", "help": "both are logits, as a network's predictions are"}),
        _path("--classes", "CSV of the classes that were kept and dropped inside"), labels, split, _path("--out", "table to write"),
    )  # fmt: skip
    verb(
        "thresholds", _thresholds, "choose one model's threshold for each class on the validation images",
        labels, split, *scores, rules,
        _path("--out", "table to write"),
    )  # fmt: skip
    replicates = (
        "--replicates", {"type": _at_least(1), "default": 1000, "help": "of the bootstrap over patients (default 1000)"}
    )  # fmt: skip
    verb(
        "metrics", _metrics, "AUC, F1, precision, sensitivity, specificity, Hamming loss, accuracy and loss with intervals",
        labels, split, _pairs("--predictions", "members", required=False), _pairs("--ensembles", "ensembles", required=False), rules, thresholds,
        exclusive,
        replicates, seed,
        _path("--out", "table to write"), _path("--summary", "JSON of the metrics over all classes, to write"),
    )  # fmt: skip
    rule = (
        "--rule",
        {"type": _rule, "default": "fixed-0.5", "help": "threshold rule of F1 and Hamming loss (default fixed-0.5)"},
    )
    f1_metric = (
        "--f1-metric",
        {"choices": _choices(config.Experiment, "f1_metric"), "default": "f1",
         "help": "which F1: the mean of both sides (f1, the default) or that of the positive side (f1_positive)"},
    )  # fmt: skip
    verb(
        "tables", _tables, "the paper's per-class and global tables",
        title, data, _path("--metrics", "metrics table"), labels, split, *models, rule, f1_metric,
        _path("--out", "folder to write to"),
    )  # fmt: skip
    verb(
        "threshold-tables", _threshold_tables, "the results by every threshold rule beside those by the first",
        title, data, _path("--metrics", "metrics table"), labels, split, *models, thresholds, rules, exclusive,
        f1_metric, ("--learned", {"nargs": "*", "default": [], "metavar": "ENSEMBLE", "help": "ensembles that learn from validation images"}),
        _path("--out", "folder to write to"),
    )  # fmt: skip
    members = ("--members", {"nargs": "+", "required": True, "help": "the single models"})
    ensembles = ("--ensembles", {"nargs": "*", "default": [], "help": "the ensembles"})
    tested = (
        ("--archive", {"help": "whose radiographs ours are, to tell whether a difference may be taken"}),
        _path("--split", "split table, to tell what ours were tested on", required=False),
        ("--official-lists", {"action": "store_true", "help": "the split follows the archive's own lists"}),
    )
    verb(
        "beside", _beside, "the paper's numbers beside ours, by class and over all",
        settings, title, data, _path("--metrics", "metrics table"), members, ensembles, *tested,
        _path("--out", "folder to write to"),
    )  # fmt: skip
    verb(
        "statements", _statements, "what the text of Liz et al. 2022 says of its results, computed from its tables and from ours",
        settings, title, data, _path("--metrics", "metrics table"), members, _path("--out", "folder to write to"),
    )  # fmt: skip
    verb(
        "systems", _systems, "other published systems of an archive, with their data and splits (Table 12 of Liz et al. 2022)",
        archive, ("--table", {"required": True, "choices": ("systems", "classes"), "help": "all of them, or their AUCs by class"}),
        _path("--out", "folder to write to"),
    )  # fmt: skip
    verb(
        "ablation", _ablation, "variants of one experiment side by side, each beside its paper's numbers (Tables 5, 7 and 9)",
        settings, title, data, _pairs("--metrics", "experiments"), members, ensembles, *tested,
        _path("--out", "folder to write to"),
    )  # fmt: skip
    archives = ("--archives", {"nargs": "+", "required": True, "metavar": "NAME=ARCHIVE", "help": "each experiment's archive"})
    verb(
        "cross-table", _cross_table, "models on the test images of each other's archives, for the classes that those share",
        settings, data, archives, _pairs("--labels", "each experiment's label set"), _pairs("--splits", "each experiment's split"),
        ("--predictions", {"nargs": "*", "default": [], "metavar": "TRAINED@TESTED=PATH", "help": "of networks"}),
        ("--ensembles", {"nargs": "*", "default": [], "metavar": "TRAINED@TESTED=PATH", "help": "of ensembles"}),
        replicates, _path("--out", "folder to write to"),
    )  # fmt: skip
    verb(
        "side-by-side", _side_by_side, "models of several experiments of one label set and split, with their differences",
        title, data, labels, split, _pairs("--metrics", "experiments"),
        ("--columns", {"nargs": "+", "required": True, "metavar": "EXPERIMENT/MODEL",
                       "help": "in order; others are compared with the first experiment's"}),
        rule, f1_metric, _path("--out", "folder to write to"),
    )  # fmt: skip
    verb(
        "summary", _summary, "classes, images and sizes of the parts of each label set (Table 3)",
        _pairs("--labels", "label sets"), _pairs("--splits", "each label set's split"), data, _path("--out", "folder to write to"),
    )  # fmt: skip
    verb(
        "screening", _screening, "what was left out of each data set and why, and which images show the same",
        _pairs("--ingested", "merged tables of ingested images"), _pairs("--duplicates", "tables of images that show the same"),
        _pairs("--catalogs", "catalogs"),
        ("--splits", {"nargs": "*", "default": [], "metavar": "DATASET/SPLIT=PATH", "help": "splits of the data sets"}),
        ("--lungs", {"nargs": "*", "default": [], "metavar": "DATASET/SEGMENTER=PATH", "help": "tables of crop boxes, all shards"}),
        data, _path("--out", "folder to write to"),
    )  # fmt: skip
    verb(
        "overview", _overview, "every experiment of a run in one table: its data, best model, results, published numbers and hours",
        settings, _pairs("--metrics", "experiments"), _pairs("--labels", "each experiment's label set"),
        _pairs("--splits", "each experiment's split"),
        ("--benchmarks", {"type": _expanded, "default": Path("benchmarks"), "metavar": "PATH", "help": "folder of Snakemake's timings"}),
        ("--logs", {"type": _expanded, "default": Path("logs"), "metavar": "PATH", "help": "folder of logs, which name the devices"}),
        folder,
    )  # fmt: skip
    verb(
        "paper-page", _paper_page, "a paper's tables and figures on one page, in its own order",
        settings, ("--captions", {"type": _expanded, "nargs": "*", "default": [], "metavar": "PATH", "help": "text files of the figures' captions"}), _path("--out", "page to write"),
    )  # fmt: skip
    verb(
        "csv-page", _csv_page, "show a CSV file as a page of the report",
        _path("--csv", "file to show"), title, ("--caption", {"required": True, "help": "what it shows"}), _path("--out", "page to write"),
    )  # fmt: skip
    stem = _path("--out", "figure to write, without suffix")
    verb("figure-labels", _figure_labels, "label distribution (Figures 5 and 6)", labels, split, title, stem)
    verb(
        "figure-shares", _figure_shares, "each class's share of all labels, before and after a split draws images down",
        labels, split, ("--paper", {"help": "the paper whose shares are marked, e.g. beltran2022"}), title, stem,
    )  # fmt: skip
    verb(
        "figure-cooccurrence", _figure_cooccurrence, "which classes come together",
        labels, ("--classes", {"nargs": "+", "default": [], "metavar": "CLASS", "help": "show these only (default: all)"}), title, stem,
    )  # fmt: skip
    verb(
        "figure-terms", _figure_terms, "a section of the archive's term tree with its images (Figure 4)",
        catalog, settings, archive,
        ("--term", {"help": "its topmost term (default: fracture or, where no image has it, the one with most terms in the data)"}),
        title, stem,
    )  # fmt: skip
    verb("figure-training", _figure_training, "losses by epoch", _pairs("--histories", "members' histories"), title, stem)
    verb(
        "figure-cross", _figure_cross, "the matrix of models and archives that they are tested on",
        _path("--matrix", "matrix.csv of cross-table"), archives, title, stem,
    )  # fmt: skip
    verb(
        "figure-epochs", _figure_epochs, "AUC and F1 of the test images by epoch, at each threshold",
        _pairs("--epochs", "members' test images after every epoch"), title, f1_metric, stem,
    )  # fmt: skip
    verb(
        "figure-lungs", _figure_lungs, "original, mask, crop and network input of several cases (Figure 3)",
        catalog, ingested, _paths("--arrays", "packed images"), _paths("--lungs", "tables of crop boxes"),
        _paths("--masks", "masks"), images, seed, stem,
    )  # fmt: skip
    verb(
        "figure-roc", _figure_roc, "ROC curves of one model by class", labels, split, *scores, ("--model", {"required": True, "help": "its name"}), title, data, stem,
    )  # fmt: skip
    explained = (
        _path("--cases", "table of cases"), ingested, _paths("--arrays", "packed images"),
        _paths("--lungs", "tables of crop boxes; none where the networks saw the whole image", required=False), title, stem,
    )  # fmt: skip
    verb(
        "figure-classes", _figure_classes, "radiographs with the heatmaps of several classes, each in its own colour",
        _pairs("--heatmaps", "members' maps"), _pairs("--predictions", "members' logits"),
        _path("--ensemble", "table of mean probabilities (default: the members' mean)", required=False), labels,
        _path("--boxes", "table of experts' boxes"), *explained,
    )  # fmt: skip
    verb(
        "figure-attention", _figure_attention, "where networks with the attention head look",
        _pairs("--attention", "members' attention weights"), *explained,
    )  # fmt: skip
    verb(
        "dvc", _dvc, "write dvc.yaml: a stage for every job of the Snakefile's DAG",
        ("--check", {"action": "store_true", "help": "only say, and fail, where dvc.yaml is not the DAG"}),
        ("snakemake", {"nargs": "*", "metavar": "ARGUMENT", "help": "of snakemake, after --, as in: thorax dvc -- --profile demo"}),
    )  # fmt: skip
    verb("plan", _plan, "write the parameters of every job for DVC", _path("--out", "JSON to write"))
    verb("record", _record, "after snakemake: version every result with DVC, so that both have nothing left to do")
    verb("sync", _sync, "after dvc pull, checkout or repro: let Snakemake know that every result is up to date")
    verb(
        "cost", _cost, "what a run costs before it is run: jobs, GPU-hours, storage, and hours on 1, 8 and 64 GPUs",
        _path("--rates", "file of `python -m bench rates` (default: one that was measured without a GPU)", required=False),
        ("--cores-per-gpu", {"type": _at_least(1), "default": 8, "help": "CPU cores beside each GPU (default 8)"}),
        ("--json", {"action": "store_true", "help": "print JSON"}),
        ("snakemake", {"nargs": "*", "metavar": "ARGUMENT", "help": "of snakemake, after -- (default: --cores 8)"}),
    )  # fmt: skip
    verb(
        "config-reference",
        _config_reference,
        "write docs/reference/configuration.md and its JSON schema",
        _path("--out", "folder"),
    )
    verb("show", _show, "print tables for people", _paths("--table", "Markdown or text files"))
    return parser


def _path(flag: str, text: str, required: bool = True) -> tuple[str, dict[str, Any]]:
    return flag, {"type": _expanded, "required": required, "metavar": "PATH", "help": text}


def _paths(flag: str, text: str, required: bool = True) -> tuple[str, dict[str, Any]]:
    return flag, {"type": _expanded, "nargs": "+", "required": required, "metavar": "PATH", "help": text}


def _expanded(text: str) -> Path:
    """A type of argument: a path, with the ~ that a shell leaves in --root=~/folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: there is no such user; write the folder itself") from error


def _pairs(flag: str, text: str, required: bool = True) -> tuple[str, dict[str, Any]]:
    return flag, {"nargs": "+" if required else "*", "required": required, "default": [], "metavar": "NAME=PATH", "help": text}


def _at_least(lowest: int) -> Callable[[str], int]:
    """A type of argument: whole numbers from `lowest`."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {lowest} or more")
        return int(text)

    return number


def _rule(text: str) -> str:
    """A type of argument: the name of a threshold rule."""
    try:
        return config.threshold_rule(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _choices(model: type[BaseModel], field: str) -> tuple[str, ...]:
    """The values that the configuration knows for a field."""
    return get_args(model.model_fields[field].annotation)


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ThoraxError(f"{path} is not there: run the step that makes it first.")
    return path


def _named(pairs: list[str]) -> dict[str, Path]:
    named = {}
    for pair in pairs:
        name, separator, path = pair.partition("=")
        if not (name and separator and path):
            raise ThoraxError(f"{pair!r} is not of the form NAME=PATH: write for example CTP=results/ensembles/x/CTP.parquet.")
        named[name] = Path(path)
    return named


def _settings(arguments: Arguments, model: type[Model]) -> Model:
    return config.parse_text(model, arguments.settings, "--settings")
