"""The DAG on a real Slurm cluster, and what happens when something fails there."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from tests.slurm import cluster
from tests.slurm.conftest import COMMAND, LONG, WANTED, Job, Run, Slurm
from tests.workflow.conftest import CASES, REPOSITORY, snakemake

pytestmark = pytest.mark.slow

MODELS = [f"results/models/tiny/{member}.keras" for member in ("first", "second", "third")]
GOING_ON = re.compile(r"resuming after epoch (\d+), batch (\d+)")


@dataclass
class Story:
    """What was done to trainings and what was seen; filled while one run of Snakemake goes on."""

    folder: Path
    output: str = ""
    jobs: dict[str, list[Job]] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)  # what was done, and to which member


def copy_of(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target, copy_function=shutil.copy2))


@pytest.fixture(scope="module")
def reference(finished, tmp_path_factory) -> Path:
    """The folder of a long training that nothing interrupted, on this machine without Slurm."""
    folder = copy_of(finished, tmp_path_factory.mktemp("reference") / "run")
    cores = min(8, len(os.sched_getaffinity(0)))  # a job gets the cores that the machine has, not those that its node claims
    done = snakemake(folder, "--cores", cores, "--configfile", CASES / "tiny" / "config.yaml", LONG, "--", MODELS[0])
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


def assert_same_training(folder: Path, member: str, reference: Path) -> None:
    """The history is the reference's byte for byte, and so is every weight."""
    history = "results/history/tiny/{}.csv"
    assert (folder / history.format(member)).read_bytes() == (reference / history.format("first")).read_bytes()
    ours, theirs = (weights(path) for path in (folder / f"results/models/tiny/{member}.keras", reference / MODELS[0]))
    assert ours.keys() == theirs.keys()
    assert ours
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


def weights(network: Path) -> dict[str, np.ndarray]:
    found = {}
    with zipfile.ZipFile(network) as archive, archive.open("model.weights.h5") as file, h5py.File(file) as values:
        values.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def training_jobs(slurm: Slurm, run: Run, member: str) -> list[Job]:
    return [job for job in slurm.jobs(f"train_wildcards_tiny_{member}") if job.name == run.id()]


def at_work(slurm: Slurm, run: Run, folder: Path, members: str) -> list[str]:
    """The members that are being trained now, and have saved a state since they were last started."""
    found = []
    for member in members.split():
        jobs, log = training_jobs(slurm, run, member), log_of(folder, member)
        if jobs and jobs[-1].state == "RUNNING" and re.search(r"epoch \d+ of 320, loss", log):
            for_the_first_time = len(jobs) == 1 and jobs[0].restarts == 0
            found += [member] if for_the_first_time or GOING_ON.search(log) else []
    return found


def log_of(folder: Path, member: str) -> str:
    log = folder / f"logs/train/tiny/{member}.log"
    return log.read_text() if log.is_file() else ""


def test_the_command_is_the_readme_s():
    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    assert COMMAND in [line.partition("#")[0].strip() for line in lines]


def test_the_dag_runs_on_both_nodes(slurm, finished):
    for result in WANTED:
        assert (finished / result).is_file(), result
    jobs = slurm.jobs_of(finished)
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert {job.node for job in jobs} == set(cluster.NODES)


def test_each_training_has_its_own_gpu_and_they_run_side_by_side(slurm, finished):
    trainings = [job for job in slurm.jobs_of(finished) if job.rule.startswith("train_")]
    assert len(trainings) == 3
    assert all("gres:gpu:1" in job.tres for job in trainings)
    together = [(one, other) for one, other in combinations(trainings, 2) if one.overlaps(other)]
    assert together
    assert all(one.node != other.node for one, other in together)  # a node has one GPU
    for log in (finished / "logs/train/tiny").iterdir():
        assert "on CPU" in log.read_text()  # not a real one, so that this test needs none


def test_stages_are_sharded_and_small_jobs_grouped(slurm, finished):
    rules = [job.rule for job in slurm.jobs_of(finished)]
    assert sorted(rule for rule in rules if rule.startswith("ingest_")) == [
        "ingest_wildcards_tiny_0",
        "ingest_wildcards_tiny_1",
    ]
    groups = [sum(rule.startswith(f"{group}_") for rule in rules) for group in ("labels", "shards", "results", "pages")]
    assert groups == [1, 2, 1, 1]  # lungs and crops are a group for each of the two shards
    assert len(rules) == 17, rules


def test_nothing_is_left_to_do(slurm, finished):
    said = slurm.run(finished, "--dry-run", "--", *WANTED)
    assert "Nothing to be done" in said


def test_a_job_that_takes_too_much_memory_is_tried_again_with_more(slurm, tmp_path):
    hungry = ("--snakefile", Path(__file__).parent / "hungry.smk", "--slurm-init-seconds-before-status-checks", "6")
    said = slurm.run(tmp_path, *hungry, "--", "hungry.txt", patient=True)
    first, second = slurm.jobs("hungry")
    assert (first.state, second.state) == ("FAILED", "COMPLETED")
    assert ("mem=700M" in first.tres, "mem=1400M" in second.tres) == (True, True)
    assert f"SLURM-job '{first.number}' failed" in said
    assert "Trying to restart job" in said
    assert (tmp_path / "hungry.txt").read_text() == "1400\n"


SITE = """
default-resources:
  tmpdir: "'{scratch}'"
set-resources:
  typed: {{gpu_model: "'toy'"}}
  generic: {{gpu: 0, gres: "'gpu:toy:1'", slurm_partition: "'urgent'"}}
precommand: export LOADED=yes
"""


def test_what_the_page_on_clusters_says_to_write_reaches_slurm(slurm, tmp_path):
    (tmp_path / "profile").mkdir()
    (tmp_path / "scratch").mkdir()
    profile = yaml.safe_load((REPOSITORY / "slurm/config.yaml").read_text(encoding="utf-8"))
    for key, value in yaml.safe_load(SITE.format(scratch=tmp_path / "scratch")).items():
        profile[key] = {**profile.get(key, {}), **value} if isinstance(value, dict) else value
    (tmp_path / "profile/config.yaml").write_text(yaml.safe_dump(profile))
    slurm.run(tmp_path, "--snakefile", Path(__file__).parent / "site.smk", "--profile", tmp_path / "profile")
    for rule, gpu, partition in (("plain", "", "main"), ("typed", "toy:", "main"), ("generic", "toy:", "urgent")):
        (job,) = slurm.jobs(rule)
        assert f"gres:gpu:{gpu}1" in job.tres
        assert (tmp_path / f"{rule}.txt").read_text().split() == ["0", partition, str(tmp_path / "scratch"), "yes"]


@pytest.fixture(scope="module")
def story(slurm, finished, tmp_path_factory) -> Story:
    """Three trainings in one run: preempted, then cancelled; at its time limit; on a node that is set down."""
    told = Story(copy_of(finished, tmp_path_factory.mktemp("story") / "run"))
    folder = told.folder
    with slurm.snakemake(folder, LONG, "--", *MODELS) as run:
        one, other = run.until(lambda: len(found := at_work(slurm, run, folder, "first second third")) == 2 and found)
        last = ({"first", "second", "third"} - {one, other}).pop()
        told.members = {"preempted": one, "cancelled": one, "limited": other, "down": last}

        limited = training_jobs(slurm, run, other)[-1]
        slurm.ask("scancel", "--signal=STOP", limited.number)  # Slurm looks at time limits every 30 s: it must not end before
        minutes = int(time.time() - limited.start) // 60 + 2  # so that the warning is due, and the end is a minute away or more
        slurm.as_root("scontrol", "update", f"JobId={limited.number}", f"TimeLimit={minutes}")

        preempted = training_jobs(slurm, run, one)[-1]
        urgent = ("--partition=urgent", "--gpus=1", f"--nodelist={preempted.node}")
        slurm.ask("sbatch", *urgent, "--output=/dev/null", "--wrap=true")
        run.until(lambda: training_jobs(slurm, run, one)[-1].restarts == 1)

        run.until(lambda: at_work(slurm, run, folder, last))
        node = training_jobs(slurm, run, last)[-1].node
        slurm.as_root("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        run.until(lambda: training_jobs(slurm, run, last)[-1].restarts == 1)
        slurm.as_root("scontrol", "update", f"NodeName={node}", "State=RESUME")

        run.until(lambda: at_work(slurm, run, folder, one))
        slurm.ask("scancel", training_jobs(slurm, run, one)[-1].number)

        run.process.wait(400)
        told.output = run.text()
        told.jobs = {member: training_jobs(slurm, run, member) for member in (one, other, last)}
        assert run.process.returncode == 0, told.output[-6000:]
    return told


def gone_on(story: Story, fault: str) -> int:
    """The epoch after which the training that a fault hit went on the last time."""
    found = GOING_ON.search(log_of(story.folder, story.members[fault]))
    assert found, log_of(story.folder, story.members[fault])
    return int(found[1])


def test_a_training_at_its_time_limit_is_warned_saves_and_goes_on(story, reference):
    first, second = story.jobs[story.members["limited"]]
    assert (first.state, second.state) == ("FAILED", "COMPLETED")
    assert first.end <= second.start
    assert "is saved; run the same command to resume" in story.output
    assert gone_on(story, "limited") >= 1
    assert ("mem=16000M" in first.tres, "mem=32000M" in second.tres) == (True, True)
    assert_same_training(story.folder, story.members["limited"], reference)


def test_a_training_that_is_preempted_goes_on_as_the_same_job(story):
    assert story.jobs[story.members["preempted"]][0].restarts == 1


def test_a_training_that_is_cancelled_is_submitted_again_and_goes_on(story, reference):
    first, second = story.jobs[story.members["cancelled"]]
    assert (first.state, second.state) == ("CANCELLED", "COMPLETED")
    assert f"SLURM-job '{first.number}' failed, SLURM status is: 'CANCELLED'" in story.output
    assert gone_on(story, "cancelled") >= 1
    assert_same_training(story.folder, story.members["cancelled"], reference)


def test_a_training_on_a_node_that_is_set_down_goes_on_elsewhere_or_later(story, reference):
    (job,) = story.jobs[story.members["down"]]
    assert (job.state, job.restarts) == ("COMPLETED", 1)
    assert gone_on(story, "down") >= 1
    assert_same_training(story.folder, story.members["down"], reference)


def test_after_kill_9_of_snakemake_the_same_command_ends_as_if_nothing_had_happened(slurm, finished, reference, tmp_path):
    folder = copy_of(finished, tmp_path / "run")
    targets = (LONG, "--", *MODELS[:2])
    with slurm.snakemake(folder, *targets) as killed:
        killed.until(lambda: len(at_work(slurm, killed, folder, "first second")) == 2)
        killed.process.kill()
        killed.process.wait()
    left = [job for job in slurm.jobs() if job.name == killed.id()]
    assert [job.state for job in left] == ["RUNNING"] * 2  # they go on without it

    with slurm.snakemake(folder, *targets) as again:
        # before that it deletes their outputs, at which a third Snakemake would stumble while it plans
        again.until(lambda: again.text().count("has been submitted with SLURM jobid") == 2)
        with slurm.snakemake(folder, *targets) as third:
            assert third.process.wait(60) == 1
            assert re.search(rf"{folder} is in use by process {again.process.pid} on \S+: wait", third.text())
            assert "Traceback" not in third.text()
        again.process.wait(300)
        assert again.process.returncode == 0, again.text()[-6000:]

    numbers = " ".join(job.number for job in left)
    assert f"Cancelling 2 jobs that an earlier run of this folder left in the queue: {numbers}" in again.text()
    for member in ("first", "second"):
        ((before,), (after,)) = (training_jobs(slurm, run, member) for run in (killed, again))
        assert before.state == "CANCELLED"
        assert before.end <= after.start  # never two jobs on one output
        assert GOING_ON.search(log_of(folder, member))
        assert_same_training(folder, member, reference)


def test_what_ended_unwatched_is_kept_if_nothing_has_changed_and_is_on_record(slurm, tmp_path):
    workflow = ("--snakefile", Path(__file__).parent / "orphan.smk", "--config")
    same, other = ([*workflow, f"experiments={{tiny: {{title: {title}}}}}"] for title in ("same", "other"))
    with slurm.snakemake(tmp_path, *same) as killed:
        killed.until(lambda: (jobs := slurm.jobs("first")) and jobs[0].state == "RUNNING")
        killed.process.kill()
    give_up = time.monotonic() + 60
    while slurm.jobs("first")[0].state == "RUNNING" and time.monotonic() < give_up:
        time.sleep(0.2)
    assert (tmp_path / "first.txt").read_text() == "same\n"
    with slurm.snakemake(tmp_path, *other) as changed:
        assert changed.process.wait(60) == 1
        assert "first.txt were made with other settings, by jobs that ended after their run was killed" in changed.text()
    slurm.run(tmp_path, *same)
    assert (tmp_path / "second.txt").read_text() == "same\n"
    assert len(slurm.jobs("first")) == 1
    assert "Params have changed" in slurm.run(tmp_path, *other, "--dry-run")  # Snakemake knows what it was made from


def test_ctrl_c_ends_the_jobs(slurm, tmp_path):
    with slurm.snakemake(tmp_path, "--snakefile", Path(__file__).parent / "orphan.smk") as run:
        run.until(lambda: any(job.state == "RUNNING" for job in slurm.jobs_of(tmp_path)))
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(60) != 0
    give_up = time.monotonic() + 60
    while (states := [job.state for job in slurm.jobs_of(tmp_path)]) == ["COMPLETING"] and time.monotonic() < give_up:
        time.sleep(0.2)
    assert states == ["CANCELLED"]
    assert not (tmp_path / "first.txt").exists()


def test_a_session_that_is_killed_leaves_no_process_and_no_folder(tmp_path):
    if why := cluster.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    command = [*(cluster.as_root() or []), sys.executable, cluster.__file__]
    program = f"import subprocess, time; subprocess.Popen({command!r}, stdin=subprocess.PIPE); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as session:
        folder = Path(re.search(r'"folder": "(.+?)"', session.stdout.readline())[1])
        assert len(cluster.members(folder)) >= 4
        session.kill()
        give_up = time.monotonic() + 30
        while folder.exists() and time.monotonic() < give_up:
            time.sleep(0.2)
        session.stdout.close()
    assert not folder.exists()
    assert not cluster.members(folder)
