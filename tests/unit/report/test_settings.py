"""Settings in words, as a paper's page tells them."""

from pathlib import Path
from typing import get_args

import pytest

from thorax import config
from thorax.report import settings
from thorax.report.settings import describe

from .test_overview import setup

ROOT = Path(__file__).parents[3]


def test_settings_are_told_in_the_papers_words():
    """Table 2 of Liz et al. 2022 from the shipped configuration."""
    blocks = config.load(ROOT / "config.yaml")
    experiment = blocks.experiments["liz2022-specific"]
    told = describe(
        config.Setup(
            experiment=experiment,
            label_set=blocks.label_sets[experiment.label_set],
            split=blocks.splits[experiment.split],
            image_set=blocks.image_sets[experiment.image_set],
            dataset=blocks.datasets["padchest"],
        )
    )
    assert told["Radiographs"] == "PadChest, all usable radiographs; views PA"
    assert told["Classes"] == "the archive's own labels; at least 1,000 images; images without any of the classes left out"
    assert told["Parts"] == "patients divided into training, validation and test images as 70 : 10 : 20; seed 2022"
    assert told["Network input"].startswith("224 x 224 pixels; cropped to the lungs (segmenter lungs)")
    assert told["Networks"] == "DenseNet201, EfficientNetB0, InceptionV3, InceptionResNetV2, Xception"
    assert told["Training"] == (
        "ImageNet weights, first 10% of the convolutional layers fixed; mean of the features, then 512 hidden units with dropout 0.2; "
        "cross-entropy, positives weighted by negatives / positives to the power 0.65; Adam 0.0001, batches of 32; "
        "at most 350 epochs, ended after 25 without improvement; augmentation: rotation 45°, shifts 0.1 and 0.1, shear 0.1°, zoom 0.1, "
        "horizontal flip, brightness 0.7 to 1.1, intensity shift 0.05"
    )
    assert told["Ensembles"].startswith(
        "PTC-mode (most frequent label set); PTC-lw (majority of the votes per label); CTP (mean prob"
    )
    assert told["Heatmaps"] == (
        "12 test images, first one each with pacemaker, pleural effusion, normal; areas of interest in blue, as in Liz et al. 2022"
    )
    assert "Tables 8 and 9" in told["Published numbers"]
    assert "Further settings" not in told


def test_what_networks_do_not_share_stands_beside_each():
    attentive = {"backbone": "Xception", "weights": "none", "freeze": 0, "head": "attention", "accumulate": 8, "min_delta": 0.5}
    plain = {"backbone": "cnn", "weights": "none", "freeze": 0, "loss": "mae", "min_delta": 0.5}
    members = {"plain": plain, "Xception": attentive, "again": attentive}
    told = describe(setup(members=members, ensembles={}, beside=None, thresholds=["fixed-0.4", "f1"], exclusive="x"))
    assert told["Networks"] == (
        "plain (cnn): mean of the features, then 512 hidden units with dropout 0.2, mean absolute error of the probabilities, "
        "Adam 0.0001, batches of 32; Xception, again (Xception): location-based attention, then 512 hidden units with dropout 0.2, "
        "cross-entropy, positives weighted by negatives / positives to the power 0.65, Adam 0.0001, batches of 32 accumulated to 256"
    )
    assert told["Training"].startswith("from scratch; at most 350 epochs")
    assert told["Training"].endswith("min delta: 0.5")  # a setting without words of its own is shown by its name
    assert (told["Ensembles"], told["Decisions"]) == (
        "none", "thresholds fixed-0.4, f1; x excludes the rest; F1-score: mean over the positive and the negative class",
    )  # fmt: skip
    assert "Published numbers" not in told


@pytest.mark.parametrize(
    ("block", "setting", "topic", "words"),
    [
        ("experiment", {"f1_metric": "f1_positive"}, "Decisions", "F1-score: of the positive class alone, 2PR / (P + R)"),
        (
            "experiment",
            {"cases": 3, "case_classes": ["Mass", "Hernia"]},
            "Heatmaps",
            "3 test images, first one each with Mass, Hernia",
        ),
        ("split", {"same_image": "similar"}, "Parts", "patients who share a similar image in one part"),
        ("split", {"same_image": "ignore"}, "Parts", "patients who share an image in any part"),
        ("split", {"label_sets": ["other"], "also_for": ["s"]}, "Parts", "the same patients in every part as with other"),
        ("split", {"test_on": "radiologists"}, "Parts", "tested on the images that radiologists labelled"),
        ("image_set", {"contrast": "clahe"}, "Network input", "contrast: clahe"),
    ],
)
def test_settings_have_words_of_their_own(block, setting, topic, words):
    given = setup()
    changed = type(getattr(given, block)).model_validate(getattr(given, block).model_dump(exclude_defaults=True) | setting)
    told = describe(given.model_copy(update={block: changed}))
    assert words in told[topic]
    assert "Further settings" not in told
    assert not any(f"{name.replace('_', ' ')}: " in text for name in set(setting) - {"contrast"} for text in told.values())


def test_every_rule_loss_and_schedule_has_words():
    pair = ["DenseNet201", "Xception"]
    for rule in get_args(config.Ensemble.model_fields["rule"].annotation):
        assert all(describe(setup(ensembles={"both": {"rule": rule, "members": pair}}, beside=None)).values())
    for name in ("loss", "schedule", "sampling", "head"):
        for value in get_args(config.Training.model_fields[name].annotation):
            told = describe(setup(members={"one": {"backbone": "cnn", name: value}}, ensembles={}, beside=None))
            assert all(told.values())
            assert "Further settings" not in told


def test_phrases_name_fields_that_there_are():
    fields = {name: field.annotation.model_fields for name, field in config.Setup.model_fields.items()}
    fields |= {"training": config.Training.model_fields, "augmentation": config.Augmentation.model_fields}
    for block, known in fields.items():
        assert settings._worded(block) <= {*known, "items", "member"}, block


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"experiment": "nih-14", "member": "A"}, "weights of A of nih-14;"),
        ({"bundle": "/home/me/nih.zip"}, "weights of the network of nih.zip;"),
    ],
)
def test_a_network_to_start_from_is_named_without_folders(weights, words):
    told = describe(setup(members={"one": {"backbone": "cnn", "weights": weights, "freeze": 0}}, ensembles={}, beside=None))
    assert told["Training"].startswith(words)
