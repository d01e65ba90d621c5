"""What is refused before the first job: everything that would fail hours later, overwrite your files, or be worked on twice."""

import fcntl
import os
import shlex
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from thorax import archives, phantom
from thorax.archives import own
from thorax.config import Config, strict_yaml
from thorax.errors import ThoraxError
from thorax.report.figures import fonts
from thorax.workflow import fields, preflight, slurm
from thorax.workflow.blocks import Blocks

RUN_LOCK = Path(".snakemake/thorax.lock")
HOW_TO_CONTINUE = (
    "What is finished stays. Remove the cause named above (each job's log is under logs/), then type the same command again."
)
_FILLED = ("results", "work", "logs", "benchmarks", ".snakemake")  # folders of the workflow
_held: list[IO[str]] = []  # the run lock, for as long as the process lives


@contextmanager
def said_by_snakemake() -> Iterator[None]:
    """Have Snakemake print an error of ours as it prints its own: one sentence, no traceback."""
    from snakemake.exceptions import WorkflowError

    try:
        yield
    except ThoraxError as error:
        raise WorkflowError(str(error)) from error


def configuration(workflow: Any) -> str:
    """The configuration file, after reading all of them strictly: Snakemake takes the last of two equal keys and names no line.

    A folder without a configuration of its own (--directory) takes the checkout's.
    """
    mine = Path("config.yaml").is_file() or workflow.overwrite_configfiles
    file = "config.yaml" if mine else f"{workflow.basedir}/config.yaml"
    if workflow.is_main_process:
        with said_by_snakemake():
            for path in [*filter(os.path.exists, [file]), *workflow.configfiles]:
                strict_yaml.read(os.path.relpath(path))
    return file


def before_run(workflow: Any, config: Config) -> None:
    """All refusals, the quick ones first, and what a run on Slurm needs before its first job."""
    commands = [fields.VERB.match(rule.shellcmd or "") for rule in workflow.rules]
    planned = {job.wildcards.label_set for job in workflow.dag.needrun_jobs() if job.rule.name == "labels"}
    with said_by_snakemake():
        if slurm.run_name(workflow):
            slurm.refuse_without_slurm()
        refuse_second_run(needed=not workflow.execution_settings.lock)
        refuse_orphans({command[1] for command in commands if command})
        refuse_missing_archives(config)
        refuse_unreadable_text(config)
        refuse_wrong_classes(config, planned)
        refuse_future_dates(config)
        slurm.take_over(workflow)


def refuse_unusable_folders() -> None:
    """Refuse folders in which Snakemake would end in a traceback."""
    for folder in map(Path, (".snakemake", "results", "logs", "benchmarks")):
        instead = "or run in another folder (--directory)"
        if os.path.lexists(folder) and not folder.is_dir():
            raise ThoraxError(f"{folder.absolute()} is not a folder: move it away, {instead}.")
        place = folder if folder.is_dir() else Path.cwd()
        if not os.access(place, os.W_OK | os.X_OK):
            raise ThoraxError(f"{place.absolute()} cannot be written: make it writable, {instead}.")


def refuse_archives_among_results(config: Config) -> None:
    """Refuse archives in folders of the workflow, which may delete their files, and a phantom's folder that holds anything else."""
    places = [(f"datasets.{name}.root", block.root, block.phantom) for name, block in config.datasets.items()]
    places += [(f"segmenters.{name}.pairs", block.pairs, None) for name, block in config.segmenters.items()]
    for key, place, made in places:
        for folder in map(Path, _FILLED):
            if Path(place).resolve().is_relative_to(folder.resolve()):
                raise ThoraxError(
                    f"{key}: {place} is in {folder.absolute()}, which the workflow fills and may delete: move the archive to another "
                    "folder and name that."
                )
        if made and Path.cwd().is_relative_to(Path(place).resolve()):
            raise ThoraxError(f"{key}: {place} contains the working directory: a synthetic archive needs a folder of its own.")


def refuse_second_run(needed: bool = True) -> None:
    """Keep all other runs out of this folder until this process ends, however it ends.

    Snakemake's own lock outlives a run that is killed and must then be removed by hand. Where it is not in use, a lock is
    `needed`: a file system without locks is refused too.
    """
    RUN_LOCK.parent.mkdir(exist_ok=True)
    lock = RUN_LOCK.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        raise ThoraxError(
            f"{Path.cwd()} is in use by {lock.read().strip() or 'another process'}: wait until that run has ended, or end it with "
            "Ctrl-C."
        ) from error
    except OSError as error:
        if needed:
            raise ThoraxError(
                f"{RUN_LOCK.absolute()} cannot be locked ({error.strerror}), so two runs at once would not be noticed: take nolock "
                "out of the profile, or work on another file system."
            ) from error
    else:
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        lock.flush()
        _held.append(lock)


def refuse_orphans(verbs: Collection[str]) -> None:
    """Refuse to run next to jobs of a killed Snakemake (`thorax VERB`): they continue, and their results are not recorded."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            words = _words(process)
            verb = next((after for word, after in pairwise(words[:3]) if word == "thorax"), "")
            if verb in verbs and (process / "cwd").readlink() == Path.cwd() and not _descends_from_snakemake(process):
                raise ThoraxError(
                    f"thorax {verb} (process {process.name}) is at work in this folder, and its Snakemake has ended: wait until it has "
                    f"ended, or end it (kill {process.name}), then type the same command again."
                )


def refuse_missing_archives(config: Config) -> None:
    """Say what is missing of all archives and how to get it; refuse to make a phantom where you keep files of your own.

    Snakemake deletes what a job is about to make.
    """
    for name in _datasets(config, config.run):
        dataset = config.datasets[name]
        if dataset.phantom:
            phantom.refuse_foreign_files(Path(dataset.root))
            last, table = Path(dataset.root, "boxes.csv"), archives.metadata_file(dataset)
            if last.is_file() and not table.is_file():
                lacks = f"The synthetic archive in {dataset.root} lacks {table.name}"
                raise ThoraxError(f"{lacks}: remove {last} too, to make it again.")
    missing = {name: _absences(config, name) for name in config.run}
    if any(missing.values()):
        sentences = list(dict.fromkeys(sentence for found in missing.values() for sentence in found))
        if others := [name for name, found in missing.items() if not found]:
            sentences.append(f"To run those whose archives are here or are downloaded: --config 'run=[{','.join(others)}]'.")
        raise ThoraxError("\n".join(sentences))


def refuse_unreadable_text(config: Config) -> None:
    """Refuse titles and names in letters that no font here has: every figure would show boxes, at the end of a long run."""
    blocks: dict[str, dict[str, Any]] = {"experiments": {name: config.experiments[name] for name in config.run}}
    blocks |= {kind: getattr(config, kind) for kind in ("ablations", "cascades", "comparisons", "cross")}
    texts = {f"{kind}.{name}.title": block.title for kind, named in blocks.items() for name, block in named.items()}
    for name in _datasets(config, config.run):
        if config.datasets[name].archive == "own":
            texts |= own.shown_text(Path(config.datasets[name].root))
    fonts.refuse_unreadable(texts)


def refuse_wrong_classes(config: Config, planned: Collection[str]) -> None:
    """Refuse settings that name a class which its label set does not have.

    Classes of the label sets that are planned are counted from metadata, if that is here; of the others an earlier run's counts
    are read.
    """
    from snakemake.logging import logger

    if any(config.datasets[config.label_sets[name].dataset].phantom is None for name in planned):
        logger.info("Comparing the settings with the archives' metadata")
    preflight.check_label_sets(config, sorted(planned))
    for name in sorted({config.experiments[experiment].label_set for experiment in config.run} - set(planned)):
        table = Path(f"results/labels/{name}.classes.csv")
        if table.is_file():  # a run of a few files may need no label set
            preflight.check_made(config, name, table)


def refuse_future_dates(config: Config) -> None:
    """Refuse files with dates in the future: results look older than such an input, and Snakemake would fail each finished job."""
    datasets = [config.datasets[name] for name in _datasets(config, config.run)]
    read = [Path(file) for dataset in datasets for file in archives.metadata_files(dataset)]
    read += [Path(segmenter.pairs) / "pairs.csv" for segmenter in config.segmenters.values()]
    files = [path for path in (*Path("results").rglob("*"), *Path("resources").rglob("*"), *read) if path.is_file()]
    if late := sorted({str(path) for path in files if path.stat().st_mtime > time.time() + 60}):
        places = shlex.join(dict.fromkeys(path if Path(path) in read else Path(path).parts[0] for path in late))
        raise ThoraxError(
            f"{late[0]} is dated in the future ({len(late)} in all): correct the clock if it is wrong, type "
            f"`find {places} -newermt now -exec touch {{}} +`, then the same command again."
        )


def _datasets(config: Config, experiments: Iterable[str]) -> list[str]:
    """The data sets that experiments ingest."""
    return sorted({name for experiment in experiments for name in Blocks(config).datasets_of(experiment)})


def _absences(config: Config, experiment: str) -> list[str]:
    """What to do about each archive and each folder of lung masks that an experiment lacks and that is not downloaded."""
    datasets = [config.datasets[name] for name in _datasets(config, [experiment])]
    found: list[str | None] = [None if dataset.download else archives.absence(dataset) for dataset in datasets]
    block = config.experiments[experiment]
    for name in filter(None, (block.image_set, block.second_image_set)):
        segmenter = config.image_sets[name].segmenter
        pairs = config.segmenters[segmenter].pairs if segmenter else ""
        if segmenter and not Blocks(config).made_before_pairs(segmenter) and not Path(pairs, "pairs.csv").is_file():
            found.append(
                f"segmenters.{segmenter}: {pairs}/pairs.csv is not there: put radiographs with lung masks into {pairs} (see "
                "docs/how-to/data.md), or download published ones (download: [montgomery]), or run `make demo`, which needs no data."
            )
    return list(filter(None, found))


def _words(process: Path) -> Sequence[str]:
    """The command line of a process in /proc; paths are cut down to their names."""
    return [word.rpartition(os.sep)[2] for word in (process / "cmdline").read_text(errors="replace").split("\0")]


def _descends_from_snakemake(process: Path) -> bool:
    while process.name not in ("0", "1"):
        if "snakemake" in _words(process)[:3]:
            return True
        process = process.with_name((process / "stat").read_text().rpartition(")")[2].split()[1])
    return False
