import fcntl
import hashlib
import subprocess
import sys
import time

RUN_LOCK = Path(".snakemake/thorax.lock")
RUN_IDS = Path(".snakemake/slurm_runs")  # the name of all jobs of the run that goes on, or was killed
PLANS = Path(".snakemake/slurm_plans.json")  # what each job that was to run would be made from
SLURM_ANSWERS_WITHIN = 60  # seconds
ENDED_WITHIN = 600  # seconds that cancelled jobs may take; Slurm kills them after its KillWait, usually 30


def refuse_second_run():
    """Let nobody else run in this folder until this process ends, however it ends.

    Snakemake's own lock outlives a run that is killed, and must then be removed by hand.
    """
    global run_lock
    RUN_LOCK.parent.mkdir(exist_ok=True)
    run_lock = RUN_LOCK.open("a+")
    try:
        fcntl.flock(run_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        run_lock.seek(0)
        raise WorkflowError(
            f"{Path.cwd()} is being run in by {run_lock.read().strip() or 'another process'}: wait until that run has ended, "
            "or end it with Ctrl-C."
        )
    except OSError as error:
        if not workflow.execution_settings.lock:
            raise WorkflowError(
                f"{RUN_LOCK.absolute()} cannot be locked ({error.strerror}), so that two runs at once would not be noticed: "
                "take nolock out of the profile, or work on another file system."
            )
    else:
        run_lock.truncate(0)
        run_lock.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        run_lock.flush()


def slurm_run():
    """The name of this run's jobs in Slurm's queue; None where they run on this machine."""
    return getattr(getattr(workflow.scheduler, "_executor", None), "run_uuid", None)


def refuse_without_slurm():
    """Before anything is fetched, and before a note is left by which the next run would look for jobs in Slurm's queue."""
    for command in (("sbatch", "--version"), ("squeue", "--me", "--noheader")) if slurm_run() else ():
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SLURM_ANSWERS_WITHIN)
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            problem = f"`{' '.join(command)}` failed ({said[-1]})" if done.returncode else ""
        except FileNotFoundError:
            problem = f"`{command[0]}` is not installed here"
        except subprocess.TimeoutExpired:
            problem = f"`{' '.join(command)}` gave no answer for {SLURM_ANSWERS_WITHIN} s"
        if problem:
            raise WorkflowError(
                f"The jobs are to go to Slurm, and {problem}: type the command on a login node of the cluster, or leave out "
                "--profile slurm to run here."
            )


def take_over_from_earlier_run():
    """Leave nothing of a run that was killed: neither its jobs in Slurm's queue, nor results that nobody has on record."""
    if RUN_IDS.is_file():
        cancel(RUN_IDS.read_text().split())
        record_unwatched(json.loads(PLANS.read_text()))
        RUN_IDS.unlink()
    if run := slurm_run():
        PLANS.write_text(json.dumps({str(file): plan(job) for job in workflow.dag.needrun_jobs() for file in job.output}))
        RUN_IDS.write_text(f"{run}\n")


def forget_run():
    """All its jobs have ended, and are on record."""
    RUN_IDS.unlink(missing_ok=True)


def cancel(names):
    """Cancel the jobs of these names, and wait until they are gone: else two jobs would write one file."""
    if left := jobs_in_queue(names):
        say(f"Cancelling {len(left)} jobs that an earlier run of this folder left in the queue: {' '.join(left)}")
        ask_slurm("scancel", *left)
    give_up = time.monotonic() + ENDED_WITHIN
    while left := jobs_in_queue(names):
        if time.monotonic() > give_up:
            raise WorkflowError(f"Jobs {' '.join(left)} do not end: see why with `squeue --me`, then type the same command.")
        time.sleep(1)


def jobs_in_queue(names):
    """Slurm's numbers of the jobs of these names that have not ended."""
    return ask_slurm("squeue", "--me", "--noheader", "--format=%i", "--name", ",".join(names)).split() if names else []


def record_unwatched(planned):
    """Put on record what jobs were made from that ended while no Snakemake was there to do it.

    Without a record Snakemake would never again make them anew when a setting changes.

    Args:
        planned: by file, the plan of the job that makes it, as the run that was killed wrote it down.
    """
    changed = []
    for job in workflow.dag.jobs:
        if workflow.dag.reason(job).no_metadata and not workflow.dag.needrun(job):
            plans = {planned.get(str(file)) for file in job.output}
            if plans == {plan(job)}:
                workflow.async_run(workflow.persistence.finished(job))
            elif plans != {None}:
                changed += map(str, job.output)
    if changed:
        raise WorkflowError(
            f"{' '.join(changed)} were made with other settings, by jobs that ended after their run was killed: delete them, "
            "or set the settings back, and type the same command."
        )


def plan(job):
    """A digest of what decides a job's results: its command, its parameters, the names of its inputs."""
    decides = [job.rule.name, job.shellcmd, list(map(str, job.params)), sorted(map(str, job.input))]
    return hashlib.blake2b(json.dumps(decides).encode(), digest_size=16).hexdigest()


def ask_slurm(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise WorkflowError(
            f"A run of this folder used Slurm, and without `{command[0]}` nobody can say whether jobs of it go on: type the "
            f"command where Slurm is, or, if you know that none does, delete {RUN_IDS.absolute()}."
        )
    if done.returncode != 0:
        raise WorkflowError(f"`{' '.join(command)}` failed ({done.stderr.strip()}): ask Slurm's administrator.")
    return done.stdout


def say(text):
    print(text, file=sys.stderr, flush=True)
