"""Runs on Slurm, with programs and a DAG that only look like Slurm's and Snakemake's; tests/slurm has a real cluster."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from thorax.errors import ThoraxError
from thorax.workflow import slurm


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The folder that is run in; PATH has no program but those in its folder `bin`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / ".snakemake").mkdir()
    return tmp_path


def program(name: str, script: str) -> None:
    path = Path("bin", name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def job(name: str, **reason) -> SimpleNamespace:
    """A job `NAME` that makes NAME.txt; reason: no_metadata, needrun."""
    return SimpleNamespace(
        rule=SimpleNamespace(name=name),
        shellcmd="echo {params}",
        params=["1"],
        input=[],
        output=[f"{name}.txt"],
        **{"no_metadata": False, "needrun": False} | reason,
    )


def workflow(*jobs: SimpleNamespace, run: str | None = None) -> SimpleNamespace:
    recorded: list[str] = []
    return SimpleNamespace(
        dag=SimpleNamespace(
            jobs=jobs,
            reason=lambda job: SimpleNamespace(no_metadata=job.no_metadata),
            needrun=lambda job: job.needrun,
            needrun_jobs=lambda: [job for job in jobs if job.needrun],
        ),
        persistence=SimpleNamespace(finished=lambda job: recorded.append(job.rule.name)),
        async_run=lambda _: None,
        scheduler=SimpleNamespace(_executor=SimpleNamespace(run_uuid=run)) if run else None,
        recorded=recorded,
    )


def killed(*jobs: SimpleNamespace) -> None:
    """Leave the notes of a run that was killed."""
    slurm.take_over(workflow(*(SimpleNamespace(**vars(job) | {"needrun": True}) for job in jobs), run="earlier"))


def test_slurm_s_commands_must_be_there_and_work(monkeypatch):
    starts = "The jobs should go to Slurm, but "
    with pytest.raises(ThoraxError, match=f"^{starts}`sbatch` is not installed here: type the command on a login node"):
        slurm.refuse_without_slurm()
    program("sbatch", "exit 0")
    program("squeue", "echo no controller >&2; exit 1")
    with pytest.raises(ThoraxError, match=rf"^{starts}`squeue --me --noheader` failed \(no controller\)"):
        slurm.refuse_without_slurm()
    program("squeue", "exec /bin/sleep 60")
    monkeypatch.setattr(slurm, "ANSWERS_WITHIN", 0.2)
    with pytest.raises(ThoraxError, match="did not answer within"):
        slurm.refuse_without_slurm()
    program("squeue", "exit 0")
    slurm.refuse_without_slurm()


def test_a_run_on_slurm_leaves_notes_until_it_has_ended():
    slurm.take_over(workflow(job("one")))
    assert not slurm.RUN_NAMES.exists()
    slurm.take_over(workflow(job("one", needrun=True), job("two"), run="mine"))
    assert slurm.RUN_NAMES.read_text() == "mine\n"
    assert set(json.loads(slurm.DIGESTS.read_text())) == {"one.txt"}
    slurm.forget()
    slurm.forget()
    assert not slurm.RUN_NAMES.exists()


def test_a_killed_run_is_not_taken_over_without_slurm_s_commands():
    killed(job("one"))
    with pytest.raises(ThoraxError, match="without `squeue` its jobs cannot be found: type the command where Slurm is, or, if"):
        slurm.take_over(workflow(job("one")))
    assert slurm.RUN_NAMES.exists()


def test_jobs_left_in_the_queue_are_cancelled_and_waited_for(monkeypatch, capsys):
    monkeypatch.setattr(slurm.time, "sleep", lambda _: None)
    killed(job("one"))
    program("squeue", '[ "$*" = "--me --noheader --format=%i --name earlier" ] && [ ! -e ended ] && echo "7\n8"; exit 0')
    program("scancel", "echo $* > cancelled; : > ended")
    slurm.take_over(workflow())
    assert Path("cancelled").read_text() == "7 8\n"
    assert "Cancelling 2 jobs that an earlier run of this folder left in the queue: 7 8" in capsys.readouterr().err


def test_jobs_that_do_not_end_and_a_queue_that_fails_are_one_sentence(monkeypatch):
    monkeypatch.setattr(slurm, "ENDED_WITHIN", 0)
    program("squeue", "echo 7")
    program("scancel", "exit 0")
    with pytest.raises(ThoraxError, match=r"^Jobs 7 do not end"):
        slurm.cancel(["earlier"])
    program("squeue", "echo down >&2; exit 1")
    with pytest.raises(ThoraxError, match=r"`squeue .*` failed \(down\): ask Slurm's administrator"):
        slurm.cancel(["earlier"])
    slurm.cancel([])


def test_what_ended_unwatched_is_recorded_if_it_was_made_with_these_settings():
    program("squeue", "exit 0")
    killed(job("ended"), job("recorded"))
    again = workflow(job("ended", no_metadata=True), job("recorded"), job("older", no_metadata=True))
    slurm.take_over(again)
    assert again.recorded == ["ended"]
    killed(job("ended"))
    other = job("ended", no_metadata=True)
    other.params = ["2"]
    with pytest.raises(
        ThoraxError, match=r"^ended\.txt were made with other settings, by jobs that ended after their run was killed"
    ):
        slurm.take_over(workflow(other))
