"""One page per paper: what was run on which data, the settings in words, and all its tables and figures in the paper's order.

The tables and figures are those of other steps, taken from their pages: nothing is drawn or computed twice.
"""

from collections.abc import Callable, Iterable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from thorax import archives
from thorax.config import Experiment, PaperPage, Study, Training
from thorax.errors import ThoraxError
from thorax.report import published_numbers, typeset
from thorax.report.tables import overview
from thorax.report.tables.results import F1_MEANINGS
from thorax.storage import store
from thorax.storage.schemas import RADIOLOGISTS

BEYOND = "Beyond the papers"
_BEYOND_TEXT = (
    "What no paper of this study shows: thresholds tuned per class, a class that excludes the rest, a cascade from general to specific "
    "classes, two views of one study, evaluation on other archives, and experiments of your own."
)
_ARCHIVE_WORDS = {
    "phantom": "synthetic radiographs in the form of {archive} (phantom)",
    "sample": "a small sample of {archive}",
    "archive": "{archive}, all usable radiographs",
}
_RULES = {
    "ctp": "mean probability",
    "ptc_lw": "majority of the votes per label",
    "ptc_mode": "most frequent label set",
    "max_vote": "share of the networks that say yes",
    "max_probability": "largest probability",
    "weighted_average": "mean probability with weights per class from validation AUC",
    "stacked": "logistic regression per class on the validation logits",
}
_CLIMBS = {
    "all": " (of all parents)",
    "first": "",
    "umbrella": " (of all parents, but for terms whose first parent is an umbrella term: these are classes of their own)",
}
_SHARED_IMAGES = {  # where the usual rule, identical images, does not hold
    "similar": "patients who share a similar image in one part",
    "ignore": "patients who share an image in any part",
}
_LOSSES = {"bce": "binary cross-entropy", "mae": "mean absolute error of the probabilities"}


def describe(study: Study) -> dict[str, str]:
    """What was done in one experiment, in words, by topic; settings without words of their own by their names."""
    experiment, label_set, image_set = study.experiment, study.label_set, study.image_set
    trainings = {name: experiment.member(name) for name in experiment.members}
    shared, own = _training(trainings)
    archive = archives.ARCHIVES[study.dataset.archive].title
    topics = {
        "Radiographs": _ARCHIVE_WORDS[experiment.data].format(archive=archive) + f"; views {', '.join(label_set.views)}",
        "Classes": _classes(study),
        "Parts": _parts(study),
        "Network input": "; ".join(
            [
                f"{image_set.size} x {image_set.size} pixels",
                f"cropped to the lungs (segmenter {image_set.segmenter})" if image_set.crop == "lungs" else "the whole radiograph",
                "the stored values" if image_set.intensity == "stored" else "each image's own range of grey values",
                *([f"contrast: {image_set.contrast}"] if image_set.contrast != "none" else []),
                *([f"beside it the second view, as {experiment.second_image_set}"] if experiment.second_image_set else []),
                *_others(image_set, {"dataset", "size", "crop", "segmenter", "intensity", "contrast"}),
            ]
        ),
        "Networks": _networks(trainings, own),
        "Training": "; ".join(shared),
        "Ensembles": "; ".join(
            f"{name} ({_RULES[ensemble.rule]}" + _of_members(ensemble.members, experiment) + ")"
            for name, ensemble in experiment.ensembles.items()
        )
        or "none",
        "Decisions": "; ".join(
            [
                "thresholds " + ", ".join(experiment.thresholds),
                *([f"{experiment.exclusive} excludes the rest"] if experiment.exclusive else []),
                f"F1-score: {F1_MEANINGS[experiment.f1_metric]}",
            ]
        ),
        "Heatmaps": f"{experiment.cases} test images"
        + (f", first one each with {', '.join(experiment.case_classes)}" if experiment.case_classes else ""),
        "Published numbers": published_numbers.describe(experiment.beside)[1] if experiment.beside else "",
        "Further settings": "; ".join(
            _others(
                experiment,
                {
                    "title", "paper", "beside", "data", "label_set", "split", "image_set", "training", "members", "ensembles",
                    "thresholds", "exclusive", "f1_metric", "cases", "case_classes", "seed", "second_image_set", "cooccurrence",
                },
            )
        ),
    }  # fmt: skip
    return {topic: text for topic, text in topics.items() if text}


def _classes(study: Study) -> str:
    label_set = study.label_set
    if label_set.grouping == "general":
        words = ["general terms of the archive's term tree" + _CLIMBS[label_set.two_parents]]
    else:
        words = ["the archive's own labels"]
    words += [f"at least {label_set.min_images:,} images"] if label_set.min_images > 1 else []
    words += [f"at least {label_set.min_patients:,} patients"] if label_set.min_patients > 1 else []
    words += [f"without {', '.join(label_set.exclude)}"] if label_set.exclude else []
    if label_set.padded_labels == "ignore":
        kept = f", but for {', '.join(label_set.padded_kept)}" if label_set.padded_kept else ""
        words.append(f"without labels that are stored with a blank before or after them{kept}")
    words += [f"learnt only where one of its general classes in {label_set.inside} is present"] if label_set.inside else []
    words += [f"one image of each study that also has one in {label_set.second}"] if label_set.second else []
    words += [f"uncertain labels: {label_set.uncertain}"] if study.dataset.archive == "chexpert" else []
    channels = " or ".join(map(str, label_set.drop_channels))
    words += [f"images stored in {channels} channels left out"] if channels else []
    words.append(
        {
            "drop": "images without any of the classes left out",
            "keep_labelled": "images with other labels only are negative for all classes",
            "keep": "images without any of the classes are negative for all",
        }[label_set.without_class]
    )
    worded = {
        "dataset", "views", "grouping", "min_images", "min_patients", "exclude", "two_parents", "uncertain", "drop_channels",
        "without_class", "inside", "second", "padded_labels", "padded_kept",
    }  # fmt: skip
    return "; ".join([*words, *_others(label_set, worded)])


def _parts(study: Study) -> str:
    split = study.split
    shares = f"{100 * split.train:g} : {100 * split.val:g}"
    if split.official:
        words = [f"tested on the archive's own test list; the other patients train and validate as {shares}"]
    elif split.test_on == RADIOLOGISTS:
        words = [
            f"tested on the images that radiologists labelled, where the archive has them; the other patients train and validate as {shares}"
        ]
    else:
        words = [f"patients divided into training, validation and test images as {shares} : {100 * split.test:g}"]
    if split.draw_down:
        kept = f"{split.draw_down.train:,} in training and {split.draw_down.test:,} in test images"
        words.append(f"images without a class drawn down to {kept}")
    if study.experiment.label_set in split.also_for:
        words.append(f"the same patients in every part as with {', '.join(split.label_sets)}")
    words += [_SHARED_IMAGES[split.same_image]] if split.same_image in _SHARED_IMAGES else []
    worded = {
        "label_sets", "also_for", "train", "val", "test", "official", "test_on", "seed", "draw_down", "same_image",
    }  # fmt: skip
    return "; ".join([*words, f"seed {split.seed}", *_others(split, worded)])


def _of_members(members: list[str], experiment: Experiment) -> str:
    return "" if members == list(experiment.members) else f" of {', '.join(members)}"


def _networks(trainings: dict[str, Training], own: dict[str, list[str]]) -> str:
    """The networks, those together that share what not all do."""
    alike: dict[str, list[str]] = {}
    for name, training in trainings.items():
        alike.setdefault(", ".join(own[name]), []).append(
            name if name == training.backbone else f"{name} ({training.backbone})"
        )
    return "; ".join(", ".join(names) + (f": {words}" if words else "") for words, names in alike.items())


def _training(trainings: dict[str, Training]) -> tuple[list[str], dict[str, list[str]]]:
    """What all networks of an experiment share, and for each what it does not share."""
    shared: list[str] = []
    own: dict[str, list[str]] = {name: [] for name in trainings}
    others = [partial(_setting, name) for name in Training.model_fields if name not in _WORDED]
    phrases: list[Callable[[Training], str]] = [*_TRAINING, *others]
    for words in phrases:
        said = {name: words(training) for name, training in trainings.items()}
        if len(set(said.values())) == 1:
            shared += [next(iter(said.values()))]
        else:
            for name, text in said.items():
                own[name].append(text)
    return list(filter(None, shared)), {name: list(filter(None, texts)) for name, texts in own.items()}


def _weights(t: Training) -> str:
    words = "ImageNet weights" if t.weights == "imagenet" else "from scratch"
    words += f", first {100 * t.freeze:g}% of the convolutional layers fixed" if t.freeze else ""
    if t.frozen_epochs:
        words += f", whole backbone fixed for {t.frozen_epochs} epochs, then fine-tuned"
        words += f" at {t.fine_tune_rate:g}" if t.fine_tune_rate is not None else ""
    return words + (", one channel" if t.channels == 1 else "")


def _head(t: Training) -> str:
    words = "location-based attention" if t.head == "attention" else "mean of the features"
    hidden = f", then {t.dense_units} hidden units with dropout {t.dropout:g}" if t.dense_units else ", then a linear layer"
    return words + hidden


def _loss(t: Training) -> str:
    if t.loss == "focal":
        return f"focal loss, gamma {t.focal_gamma:g}" + (f", alpha {t.focal_alpha:g}" if t.focal_alpha is not None else "")
    if t.loss == "weighted_bce":
        cap = f", at most {t.max_pos_weight:g}" if t.max_pos_weight is not None else ""
        power = f" to the power {t.pos_weight_exponent:g}" if t.pos_weight_exponent != 1 else ""
        return f"cross-entropy, positives weighted by negatives / positives{power}{cap}"
    return _LOSSES[t.loss]


def _steps(t: Training) -> str:
    schedules = {"constant": "", "cosine": ", cosine schedule", "plateau": f", times {t.plateau_factor:g} on a plateau"}
    batch = f"batches of {t.batch_size}" + (f" accumulated to {t.batch_size * t.accumulate}" if t.accumulate > 1 else "")
    return f"Adam {t.learning_rate:g}{schedules[t.schedule]}, {batch}"


def _epochs(t: Training) -> str:
    return f"at most {t.epochs} epochs, ended after {t.patience} without improvement"


def _tested(t: Training) -> str:
    return "test images evaluated after every epoch, for its figure only" if t.test_every_epoch else ""


def _sampling(t: Training) -> str:
    return {"none": "", "over": "rare classes repeated", "under": "frequent classes thinned out"}[t.sampling]


def _augmentation(t: Training) -> str:
    a = t.augmentation
    if a is None:
        return "no augmentation"
    words = [
        *([f"rotation {a.rotation:g}°"] if a.rotation else []),
        *([f"shifts {a.width_shift:g} and {a.height_shift:g}"] if a.width_shift or a.height_shift else []),
        *([f"shear {a.shear:g}°"] if a.shear else []),
        *([f"zoom {a.zoom:g}"] if a.zoom else []),
        *(["horizontal flip"] if a.horizontal_flip else []),
        *([f"brightness {a.brightness[0]:g} to {a.brightness[1]:g}"] if a.brightness != (1, 1) else []),
        *([f"contrast {a.contrast[0]:g} to {a.contrast[1]:g}"] if a.contrast != (1, 1) else []),
        *([f"intensity shift {a.channel_shift:g}"] if a.channel_shift else []),
        *([f"elastic deformation {a.elastic:g}"] if a.elastic else []),
        *([f"mixup {a.mixup:g}"] if a.mixup else []),
    ]
    worded = {
        "rotation", "width_shift", "height_shift", "shear", "zoom", "horizontal_flip", "brightness", "contrast", "channel_shift",
        "elastic", "elastic_smoothness", "mixup",
    }  # fmt: skip
    return "augmentation: " + (", ".join([*words, *_others(a, worded)]) or "none")


_TRAINING: tuple[Callable[[Training], str], ...] = (_weights, _head, _loss, _steps, _epochs, _tested, _sampling, _augmentation)
_WORDED = {
    "backbone", "weights", "freeze", "frozen_epochs", "fine_tune_rate", "channels", "head", "dense_units", "dropout", "loss",
    "focal_gamma", "focal_alpha", "pos_weight_exponent", "max_pos_weight", "learning_rate", "schedule", "plateau_factor", "batch_size",
    "accumulate", "epochs", "patience", "test_every_epoch", "sampling", "augmentation",
}  # fmt: skip


def _setting(name: str, block: BaseModel) -> str:
    """A setting without words of its own, as `name: value`; nothing where it is the usual one."""
    value: Any = getattr(block, name)
    default = type(block).model_fields[name].get_default(call_default_factory=True)
    return "" if value == default else f"{name.replace('_', ' ')}: {value}"


def _others(block: BaseModel, worded: set[str]) -> list[str]:
    """The settings of a block that have no words of their own and differ from their defaults."""
    return list(filter(None, (_setting(name, block) for name in type(block).model_fields if name not in worded)))


def compose(page: PaperPage, captions: dict[str, str]) -> str:
    """The page as HTML of its own.

    Args:
        page: its experiments, and its tables and figures in order.
        captions: by name, as in the sections.

    Raises:
        ThoraxError: a section's page is missing or no page of ours, or its caption is not given.
    """
    name, cited = published_numbers.citation(page.paper) if page.paper else (BEYOND, _BEYOND_TEXT)
    links = ['<li><a href="#settings">What was run, and how</a></li>\n'] if page.studies else []
    sections = []
    for number, section in enumerate(page.sections, 1):
        if section.caption and section.caption not in captions:
            raise ThoraxError(
                f"The section {section.heading!r} has no caption {section.caption!r}: name its file under --captions."
            )
        _, body = typeset.read_page(Path(section.page))
        heading = escape(section.heading.replace(f": {name}: ", ": "))  # the page is of this paper
        links.append(f'<li><a href="#s{number}">{heading}</a></li>\n')
        sections.append(
            f'<section id="s{number}">\n<h2>{heading}</h2>\n{_paragraphs(captions[section.caption] if section.caption else "")}{body}'
            '<p><a href="#top">to the top</a></p>\n</section>\n'
        )
    settings = (
        f'<section id="settings">\n<h2>What was run, and how</h2>\n{_settings(page.studies)}</section>\n'
        if page.studies
        else ""
    )
    return typeset.page(
        name,
        f'<p class="data" id="top">{escape(overview.run_on(page.data))}</p>\n<p>{escape(cited)}</p>\n<nav>\n<ul>\n{"".join(links)}</ul>\n</nav>\n'
        f"{settings}{''.join(sections)}",
    )


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(' '.join(part.split()))}</p>\n" for part in text.split("\n\n") if part.strip())


def _settings(studies: dict[str, Study]) -> str:
    """What all experiments share, said once, and then what each has of its own."""
    described = [describe(study) for study in studies.values()]
    shared = (
        {topic: text for topic, text in described[0].items() if all(other.get(topic) == text for other in described)}
        if described
        else {}
    )
    if len(described) == 1:
        return f"<h3>{escape(next(iter(studies.values())).experiment.title)}</h3>\n<dl>\n{_definitions(shared)}</dl>\n"
    blocks = [("All experiments of this page", shared)] if shared else []
    for study, topics in zip(studies.values(), described, strict=True):
        blocks.append((study.experiment.title, {topic: text for topic, text in topics.items() if topic not in shared}))
    return "".join(f"<h3>{escape(title)}</h3>\n<dl>\n{_definitions(topics)}</dl>\n" for title, topics in blocks)


def _definitions(topics: dict[str, str]) -> str:
    return "".join(f"<dt>{escape(topic)}</dt><dd>{escape(text)}</dd>\n" for topic, text in topics.items())


def make_page(settings: PaperPage, captions: Iterable[Path], out: Path) -> None:
    """Write a paper's page.

    Args:
        settings: as in `compose`.
        captions: text files {name}.rst without markup.
        out: the page to write.

    Raises:
        ThoraxError: as in `compose`, or a missing caption file.
    """
    texts = dict(settings.captions)
    for path in captions:
        try:
            texts[path.stem] = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ThoraxError(f"{path} cannot be read ({error.strerror}): restore it.") from error
    store.write_text(compose(settings, texts), out)
