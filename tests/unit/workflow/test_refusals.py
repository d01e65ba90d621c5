"""What is refused before the first job, without Snakemake; tests/workflow/test_refusals.py has the wiring."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from thorax.archives import padchest
from thorax.config import Config, parse, strict_yaml
from thorax.errors import ThoraxError
from thorax.workflow import refusals

ROOT = Path(__file__).parents[3]
TINY = "tests/workflow/tiny/config.yaml"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The folder that is run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(file: str, **values) -> Config:
    """A configuration of the repository with some keys changed: kind__name__field=value, or run=[...]."""
    config = strict_yaml.read(ROOT / file)
    for path, value in values.items():
        block, *keys = config, *path.split("__")
        for key in keys[:-1]:
            block = block[key]
        block[keys[-1]] = value
    return parse(Config, config, file)


def test_archives_that_are_not_here_are_all_named_with_what_to_do():
    config = changed("config.yaml", segmenters__lungs__download=[])
    config = config.model_copy(update={"run": ["saturi2025", "padchest-two-views", "kejriwal-nih", "liz2022-specific"]})
    with pytest.raises(ThoraxError) as refused:
        refusals.refuse_missing_archives(config)
    lines = str(refused.value).splitlines()
    starts = (
        "CheXpert is not in data/chexpert (",
        "segmenters.lungs: data/lung_masks/pairs.csv",
        "PadChest is not in data/padchest",
    )
    assert [line.startswith(start) and "`make demo`" in line for line, start in zip(lines, starts, strict=False)] == [True] * 3
    assert lines[3:] == ["To run those whose archives are here or are downloaded: --config 'run=[kejriwal-nih]'."]


def test_pairs_that_are_downloaded_here_or_made_with_a_phantom_are_not_missing(folder):
    refusals.refuse_missing_archives(changed(TINY))
    nih = changed("config.yaml", run=["kejriwal-nih"])
    refusals.refuse_missing_archives(nih)  # the images are downloaded
    (folder / "data/lung_masks").mkdir(parents=True)
    (folder / "data/lung_masks/pairs.csv").touch()
    lungs = changed("config.yaml", run=["liz2022-specific"], segmenters__lungs__download=[])
    with pytest.raises(ThoraxError) as refused:
        refusals.refuse_missing_archives(lungs)
    assert "segmenters" not in str(refused.value)


def test_a_phantom_is_not_made_over_your_files(folder):
    precious = folder / "data/tiny" / padchest.METADATA[0]
    precious.parent.mkdir(parents=True)
    precious.write_text("years of work")
    with pytest.raises(ThoraxError, match="data/tiny has files that were not made by the phantom"):
        refusals.refuse_missing_archives(changed(TINY))


def test_a_phantom_without_its_metadata_table_is_not_taken_for_whole(folder):
    root = folder / "data/tiny"
    root.mkdir(parents=True)
    for name in ("phantom.json", "boxes.csv"):
        (root / name).write_text("{}")
    with pytest.raises(ThoraxError) as refused:
        refusals.refuse_missing_archives(changed(TINY))
    assert str(refused.value) == (
        f"The synthetic archive in data/tiny lacks {padchest.METADATA[0]}: remove data/tiny/boxes.csv too, to make it again."
    )


@pytest.mark.parametrize(
    ("root", "sentence"),
    [
        ("results/mine", "datasets.tiny.root: results/mine is in {folder}/results, which the workflow fills and may delete"),
        (".", "datasets.tiny.root: . contains the working directory: a synthetic archive needs a folder of its own."),
    ],
)
def test_an_archive_among_results_is_refused(folder, root, sentence):
    with pytest.raises(ThoraxError) as refused:
        refusals.refuse_archives_among_results(changed(TINY, datasets__tiny__root=root))
    assert sentence.format(folder=folder) in str(refused.value)
    refusals.refuse_archives_among_results(changed(TINY))


def test_pairs_among_results_are_refused(folder):
    with pytest.raises(ThoraxError, match=r"^segmenters\.tiny-lungs\.pairs: work is in "):
        refusals.refuse_archives_among_results(changed(TINY, **{"segmenters__tiny-lungs__pairs": "work"}))


def test_a_file_in_the_place_of_an_output_folder(folder):
    refusals.refuse_unusable_folders()
    (folder / "logs").write_text("mine\n")
    with pytest.raises(ThoraxError, match=f"{folder / 'logs'} is not a folder: move it away"):
        refusals.refuse_unusable_folders()


def test_a_title_that_no_font_here_can_show():
    with pytest.raises(ThoraxError, match=r"experiments\.tiny\.title: no font on this machine has"):
        refusals.refuse_unreadable_text(changed(TINY, experiments__tiny__title="\ue000"))
    refusals.refuse_unreadable_text(changed(TINY))


def test_the_letters_of_your_own_table_are_looked_at_too(folder):
    settings = strict_yaml.read(ROOT / TINY)
    settings["datasets"]["tiny"] = {"archive": "own", "root": "mine"}
    (folder / "mine/images").mkdir(parents=True)
    pd.DataFrame({"path": ["a.png"], "patient_id": ["1"], "labels": ["\ue000"]}).to_csv("mine/images.csv", index=False)
    with pytest.raises(ThoraxError, match=r"mine/images\.csv, column labels: no font"):
        refusals.refuse_unreadable_text(parse(Config, settings, "x"))


def test_a_class_that_an_earlier_run_did_not_keep(folder):
    table = folder / "results/labels/tiny.classes.csv"
    config = changed(TINY, experiments__tiny__exclusive="norml")
    refusals.refuse_wrong_classes(config, [])
    name = config.experiments["tiny"].label_set
    table = table.with_name(f"{name}.classes.csv")
    table.parent.mkdir(parents=True)
    pd.DataFrame({"class": ["normal"], "status": ["kept"]}).to_csv(table, index=False)
    with pytest.raises(ThoraxError, match=r"experiments\.tiny\.exclusive: 'norml'.*normal"):
        refusals.refuse_wrong_classes(config, [])
    refusals.refuse_wrong_classes(config, [name])  # it is to be made, from an archive that is synthetic


def test_files_dated_in_the_future(folder):
    config, table = changed(TINY), folder / "data/tiny" / padchest.METADATA[0]
    later = time.time() + 1000
    files = (table, folder / "results/metrics/tiny.parquet")
    for path in files:
        path.parent.mkdir(parents=True)
        path.touch()
    refusals.refuse_future_dates(config)
    for path in files:
        os.utime(path, (later, later))
    with pytest.raises(ThoraxError) as refused:
        refusals.refuse_future_dates(config)
    said = f"data/tiny/{padchest.METADATA[0]} is dated in the future (2 in all)"
    advice = f"`find data/tiny/{padchest.METADATA[0]} results -newermt now -exec touch {{}} +`"
    assert said in str(refused.value)
    assert advice in str(refused.value)
    subprocess.run(advice.strip("`"), shell=True, check=True)
    refusals.refuse_future_dates(config)


def test_a_second_run_waits_until_the_first_has_ended_however_it_ends(folder, monkeypatch):
    monkeypatch.setattr(refusals, "_held", [])
    reading, writing = os.pipe()
    other = os.fork()
    if other == 0:
        refusals.refuse_second_run()
        os.write(writing, b"x")
        time.sleep(60)
        os._exit(1)
    assert os.read(reading, 1) == b"x"
    try:
        for _ in range(2):  # the refused run does not wipe out who holds the lock
            with pytest.raises(ThoraxError) as refused:
                refusals.refuse_second_run()
            assert str(refused.value).startswith(f"{folder} is in use by process {other} on {os.uname().nodename}: wait until")
    finally:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)
    refusals.refuse_second_run()
    assert refusals.RUN_LOCK.read_text().startswith(f"process {os.getpid()} ")
    refusals._held.pop().close()


def test_a_file_system_without_locks_is_refused_where_snakemake_s_own_lock_is_off(monkeypatch):
    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(refusals.fcntl, "flock", flock)
    with pytest.raises(ThoraxError, match=r"thorax\.lock cannot be locked \(Function not implemented\)"):
        refusals.refuse_second_run()
    refusals.refuse_second_run(needed=False)


def test_jobs_whose_snakemake_was_killed_are_refused(folder):
    waits = "import sys; print(1, flush=True); sys.stdin.read()"
    starts = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"
    (folder / "thorax").write_text(waits)
    (folder / "snakemake").write_text(starts)
    for command, refused in (
        (["thorax", "metrics"], True),
        (["thorax", "cost"], False),
        (["snakemake", "thorax", "metrics"], False),
    ):
        with subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            if refused:
                with pytest.raises(ThoraxError, match=rf"^thorax metrics \(process {process.pid}\) is at work in this folder"):
                    refusals.refuse_orphans({"metrics"})
            else:
                refusals.refuse_orphans({"metrics"})
            process.stdin.close()
    refusals.refuse_orphans({"metrics"})
