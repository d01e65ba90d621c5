"""What a user reads who has no archive or a wrong key: one sentence, a non-zero exit, nothing written.

All refusals are in tests/unit/workflow/test_refusals.py; these tests show that they are called.
"""

import re

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
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    return file


def test_the_papers_are_planned_in_another_folder_without_any_archive(tmp_path):
    dry = snakemake(tmp_path, "--cores", "8", "--dry-run", "--quiet", "rules")
    assert dry.returncode == 0, dry.stdout
    assert re.search(r"^train +\d{2} *$", dry.stdout, re.MULTILINE), dry.stdout
    assert not (tmp_path / "results").exists()


def test_a_real_run_without_archives_says_of_all_what_to_do_before_any_job(tmp_path):
    settings = yaml.safe_load(PAPER.read_text())
    settings["segmenters"]["lungs"]["download"] = []
    settings["run"] = ["saturi2025", "padchest-two-views", "kejriwal-nih", "liz2022-specific", "beltran2022"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    done = snakemake(tmp_path, "--cores", "8")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    said = done.stdout.partition("\nWorkflowError")[2].splitlines()[1:5]
    starts = (
        "CheXpert is not in data/chexpert (",
        "segmenters.lungs: data/lung_masks/pairs.csv",
        "PadChest is not in data/padchest",
    )
    assert [line.startswith(start) and "`make demo`" in line for line, start in zip(said, starts, strict=False)] == [True] * 3
    assert said[3].endswith("--config 'run=[kejriwal-nih,beltran2022]'.")
    assert not (tmp_path / "results").exists()


def test_a_wrong_configuration_is_one_sentence(tmp_path):
    """Its wording is for tests/unit/workflow/test_preflight.py."""
    done = snakemake(tmp_path, "--cores", "1", "--dry-run", config=changed(tmp_path, "experiments", "tiny", "titel", "x"))
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    sentence = [
        line
        for line in done.stdout.splitlines()
        if "changed.yaml: experiments.tiny: unknown key 'titel' (did you mean 'title'?)" in line
    ]
    assert len(sentence) == 1, done.stdout
    assert not (tmp_path / "results").exists()


def test_roots_with_a_slash_at_the_end_and_a_blank_are_planned(tmp_path):
    settings = yaml.safe_load(TINY.read_text())
    settings["datasets"]["tiny"]["root"] = "data/my tiny/"
    settings["segmenters"]["tiny-lungs"]["pairs"] = "data/my tiny/lung_masks/"
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    done = snakemake(tmp_path, "--cores", "1", "--dry-run", "--printshellcmds", config=file)
    assert done.returncode == 0, done.stdout
    assert "--root 'data/my tiny' " in done.stdout
