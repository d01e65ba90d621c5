"""What a user reads who has no archive, a wrong key, or a broken file: one sentence, a non-zero exit, nothing written."""

import re

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
    sentence = [line for line in done.stdout.splitlines() if "changed.yaml: experiments.tiny.titel is not a known key" in line]
    assert len(sentence) == 1, done.stdout
    assert not (tmp_path / "results").exists()


def test_a_file_in_the_place_of_an_output_folder(tmp_path):
    (tmp_path / "logs").write_text("mine\n")
    done = snakemake(tmp_path, "--cores", "1", "phantom", config=TINY)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    assert any(f"{tmp_path / 'logs'} is not a folder: move it away" in line for line in done.stdout.splitlines()), done.stdout
    assert (tmp_path / "logs").read_text() == "mine\n"


def test_roots_with_a_slash_at_the_end_and_a_blank_are_planned(tmp_path):
    settings = yaml.safe_load(TINY.read_text())
    settings["datasets"]["tiny"]["root"] = "data/my tiny/"
    settings["segmenters"]["tiny-lungs"]["pairs"] = "data/my tiny/lung_masks/"
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    done = snakemake(tmp_path, "--cores", "1", "--dry-run", "--printshellcmds", config=file)
    assert done.returncode == 0, done.stdout
    assert "--root 'data/my tiny' " in done.stdout


@pytest.mark.parametrize(
    ("root", "sentence"),
    [
        ("results/mine", "datasets.tiny.root: results/mine lies in {folder}/results, which the workflow fills and may delete"),
        (".", "datasets.tiny.root: . holds the folder that is run in: a synthetic archive needs a folder of its own."),
    ],
)
def test_an_archive_among_results_is_refused(tmp_path, root, sentence):
    done = snakemake(tmp_path, "--cores", "1", "--dry-run", config=changed(tmp_path, "datasets", "tiny", "root", root))
    assert done.returncode != 0
    assert sentence.format(folder=tmp_path) in done.stdout
    assert "Traceback" not in done.stdout


def test_a_phantom_is_not_made_over_somebodys_files(tmp_path):
    from thorax.archives import padchest

    precious = tmp_path / "data" / "tiny" / padchest.METADATA[0]
    precious.parent.mkdir(parents=True)
    precious.write_text("years of work")
    done = snakemake(tmp_path, "--cores", "1", config=TINY)
    assert done.returncode != 0
    assert "data/tiny has files that were not made by the phantom" in done.stdout
    assert precious.read_text() == "years of work"


def test_a_phantom_without_its_metadata_table_is_not_taken_for_whole(tmp_path):
    from thorax.archives import padchest

    root = tmp_path / "data" / "tiny"
    root.mkdir(parents=True)
    for name in ("phantom.json", "boxes.csv"):
        (root / name).write_text("{}")
    done = snakemake(tmp_path, "--cores", "1", config=TINY)
    assert done.returncode != 0
    assert f"data/tiny lacks {padchest.METADATA[0]}: remove data/tiny/boxes.csv too, so that it is made anew." in done.stdout
    assert not (tmp_path / "results" / "catalog").exists()


def test_a_title_that_no_font_here_can_show_is_refused_before_any_job(tmp_path):
    config = changed(tmp_path, "experiments", "tiny", "title", "肺炎")
    done = snakemake(tmp_path, "--cores", "1", config=config, MPL_IGNORE_SYSTEM_FONTS="1")
    assert done.returncode != 0
    assert "experiments.tiny.title: no font on this machine has '炎肺' (CJK)" in done.stdout
    assert "apt-get install fonts-noto-cjk" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "results").exists()
