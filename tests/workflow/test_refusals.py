"""What a user reads who has no archive, a wrong key, or a broken file: one sentence, a non-zero exit, nothing written."""

import pytest
import yaml

from .conftest import CASES, REPOSITORY, snakemake

PAPER = REPOSITORY / "config.yaml"
TINY = CASES / "tiny" / "config.yaml"


def changed(tmp_path, *path_and_value):
    """The tiny configuration with one key changed; the last argument is the value, None removes the key."""
    *path, value = path_and_value
    settings = yaml.safe_load(TINY.read_text())
    block = settings
    for key in path[:-1]:
        block = block[key]
    if value is None:
        del block[path[-1]]
    else:
        block[path[-1]] = value
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def test_the_paper_is_planned_without_its_archive(tmp_path):
    dry = snakemake(tmp_path, "--cores", "8", "--dry-run", "--quiet", config=PAPER)
    assert dry.returncode == 0, dry.stdout
    assert not (tmp_path / "results").exists()


def test_a_real_run_without_padchest_says_what_to_do_before_any_job(tmp_path):
    done = snakemake(tmp_path, "--cores", "8", config=PAPER)
    assert done.returncode != 0
    sentence = [line for line in done.stdout.splitlines() if "PadChest" in line]
    assert any("make demo" in line and "data/padchest" in line for line in sentence), done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("path_and_value", "words"),
    [
        (("experiments", "tiny", "titel", "x"), ["experiments.tiny.titel", "not a known key"]),
        (("experiments", "tiny", "label_set", "unknown"), ["experiments.tiny.label_set", "'unknown'", "tiny-specific"]),
        (("experiments", "tiny", "training", {"backbone": "cnn", "epochs": 0}), ["epochs", "greater than or equal to 1"]),
        (("splits", "tiny-pa", "train", 0.9), ["splits.tiny-pa", "must be 1"]),
        (("label_sets", "tiny-specific", "min_images", "many"), ["label_sets.tiny-specific.min_images", "'many'"]),
        (
            ("experiments", "tiny", "ensembles", {"CTP": {"rule": "ctp", "members": ["first", "fourth"]}}),
            ["'fourth'", "not a member"],
        ),
        (("run", ["nothing"]), ["run names 'nothing'"]),
        (("image_sets", None), ["image_sets is missing"]),
    ],
)
def test_a_wrong_configuration_is_one_sentence(tmp_path, path_and_value, words):
    done = snakemake(tmp_path, "--cores", "1", "--dry-run", config=changed(tmp_path, *path_and_value))
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    assert any(all(word in line for word in words) for line in done.stdout.splitlines()), done.stdout
    assert not (tmp_path / "results").exists()
