import sys
import time
from contextlib import suppress

from thorax import phantom
from thorax.report.figures import fonts
from thorax.archives import own


def refuse_missing_archives():
    """Say all that is missing and how to get it, before any job starts.

    A phantom must not be made where somebody keeps files: Snakemake deletes what a job is about to make.
    """
    for name in run_datasets():
        dataset = study.datasets[name]
        if dataset.phantom:
            try:
                phantom.refuse_foreign_files(Path(dataset.root))
            except ThoraxError as error:
                raise WorkflowError(str(error))
            table = archives.metadata_file(dataset)
            if Path(made_before(name)).is_file() and not table.is_file():
                raise WorkflowError(
                    f"The synthetic archive in {dataset.root} lacks {table.name}: remove {made_before(name)} too, so that it is "
                    "made anew."
                )
    missing = {name: absences(name) for name in study.run}
    if not any(missing.values()):
        return
    sentences = list(dict.fromkeys(sentence for found in missing.values() for sentence in found))
    if others := [name for name, found in missing.items() if not found]:
        sentences.append(f"To run those whose archives are here or are fetched: --config 'run=[{','.join(others)}]'.")
    raise WorkflowError("\n".join(sentences))


def absences(experiment):
    """Of each archive and each folder of lung masks that an experiment needs, that is not here and is not fetched, what to do."""
    found = [absence_of(name) for name in datasets_of(experiment)]
    image_sets = [study.experiments[experiment].image_set, study.experiments[experiment].second_image_set]
    for name in [study.image_sets[image_set].segmenter for image_set in image_sets if image_set]:
        pairs = study.segmenters[name].pairs if name else ""
        if name and not made_before_pairs(name) and not Path(pairs, "pairs.csv").is_file():
            found.append(
                f"segmenters.{name}: {pairs}/pairs.csv is not there: put radiographs with lung masks into {pairs} (see "
                "docs/how-to/data.md), or have published ones fetched (download: [montgomery]), or run `make demo`, which needs no data."
            )
    return list(filter(None, found))


def absence_of(name):
    """Why a data set is not there and is not fetched either, if so."""
    dataset = study.datasets[name]
    return None if dataset.download else archives.absence(dataset)


def refuse_unreadable_text():
    """Titles and names in letters that no font here has would be boxes in every figure, at the end of a long run."""
    blocks = {"experiments": {name: study.experiments[name] for name in study.run}}
    blocks |= {kind: getattr(study, kind) for kind in ("ablations", "cascades", "comparisons", "cross")}
    texts = {f"{kind}.{name}.title": block.title for kind, named in blocks.items() for name, block in named.items()}
    try:
        for name in run_datasets():
            if study.datasets[name].archive == "own":
                texts |= own.shown_text(Path(study.datasets[name].root))
        fonts.refuse_unreadable(texts)
    except ThoraxError as error:
        raise WorkflowError(str(error))


def refuse_wrong_classes():
    """Compare classes that settings name with the label sets: those to be made are counted from metadata, where these are here."""
    planned = {job.wildcards.label_set for job in workflow.dag.needrun_jobs() if job.rule.name == "labels"}
    if any(study.datasets[study.label_sets[name].dataset].phantom is None for name in planned):
        logger.info("Comparing the settings with the archives' metadata")
    try:
        preflight.check_label_sets(study, sorted(planned))
        for name in sorted({study.experiments[experiment].label_set for experiment in study.run} - planned):
            table = Path(f"results/labels/{name}.classes.csv")
            if table.is_file():  # not where jobs that need no label set were asked for
                preflight.check_made(study, name, table)
    except ThoraxError as error:
        raise WorkflowError(str(error))


def refuse_future_dates():
    """Results look older than such an input, so Snakemake would fail each job that reads it, at the job's end."""
    read = [file for dataset in map(study.datasets.get, run_datasets()) for file in map(Path, archives.metadata_files(dataset))]
    read += [Path(segmenter.pairs) / "pairs.csv" for segmenter in study.segmenters.values()]
    files = [path for path in (*Path("results").rglob("*"), *Path("resources").rglob("*"), *read) if path.is_file()]
    if late := sorted({str(path) for path in files if path.stat().st_mtime > time.time() + 60}):
        places = shlex.join(dict.fromkeys(path if Path(path) in read else Path(path).parts[0] for path in late))
        raise WorkflowError(
            f"{late[0]} is dated in the future ({len(late)} in all): correct the clock if it is wrong, type "
            f"`find {places} -newermt now -exec touch {{}} +`, then the same command again."
        )


def refuse_orphans():
    """Jobs outlive a Snakemake that was ended by kill -9, and nobody would take note of what they still write."""
    for process in Path(os.sep, "proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            words = words_of(process)
            verb = next((after for word, after in zip(words[:2], words[1:3]) if word == "thorax"), "")
            if verb in steps_verbs and (process / "cwd").readlink() == Path.cwd() and not has_snakemake(process):
                raise WorkflowError(
                    f"thorax {verb} (process {process.name}) is at work in this folder, and no "
                    f"Snakemake waits for it: wait until it has ended, or end it (kill {process.name}), then type the same command "
                    "again."
                )


def words_of(process):
    """The command line of a process of /proc; paths are cut down to their names."""
    return [word.rpartition(os.sep)[2] for word in (process / "cmdline").read_text(errors="replace").split("\0")]


def has_snakemake(process):
    """Whether a process of /proc descends from a Snakemake."""
    while process.name not in ("0", "1"):
        if "snakemake" in words_of(process)[:3]:
            return True
        process = process.with_name((process / "stat").read_text().rpartition(")")[2].split()[1])
    return False


def say_how_to_go_on():
    print(
        "What is finished stays. Remove the cause named above (each job's log is under logs/), then type the same command again.",
        file=sys.stderr,
    )
