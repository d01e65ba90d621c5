import fcntl
import subprocess
import sys
import time

RUN_LOCK = Path(".snakemake/thorax.lock")
RUN_IDS = Path(".snakemake/slurm_runs")  # names of the Slurm jobs of this folder's runs, as the executor chose them
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
            f"{Path.cwd()} is being run in by {run_lock.read().strip() or 'another process'}: wait until that run has ended, or "
            "end it with Ctrl-C."
        )
    except OSError as error:
        if not workflow.execution_settings.lock:
            raise WorkflowError(
                f"{RUN_LOCK.absolute()} cannot be locked ({error.strerror}), so that two runs at once would not be noticed: take "
                "nolock out of the profile, or work on another file system."
            )
    else:
        run_lock.truncate(0)
        run_lock.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        run_lock.flush()


def cancel_earlier_jobs():
    """Cancel what runs of this folder that were killed left in Slurm's queue, and wait until it is gone.

    Their jobs go on without them, and nobody would collect what they make: two jobs would write one file.
    """
    run = getattr(getattr(workflow.scheduler, "_executor", None), "run_uuid", None)
    if run is None:  # not Slurm
        return
    earlier = RUN_IDS.read_text().split() if RUN_IDS.is_file() else []
    if left := jobs_in_queue(earlier):
        print(
            f"Cancelling {len(left)} jobs that an earlier run of this folder left in the queue: {' '.join(left)}",
            file=sys.stderr,
            flush=True,
        )
        ask_slurm("scancel", *left)
        give_up = time.monotonic() + ENDED_WITHIN
        while left := jobs_in_queue(earlier):
            if time.monotonic() > give_up:
                raise WorkflowError(
                    f"Jobs {' '.join(left)} do not end: see why with `squeue --me`, then type the same command."
                )
            time.sleep(1)
    RUN_IDS.write_text(f"{run}\n")


def jobs_in_queue(names):
    """Slurm's numbers of the jobs of these names that have not ended."""
    return ask_slurm("squeue", "--me", "--noheader", "--format=%i", "--name", ",".join(names)).split() if names else []


def ask_slurm(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise WorkflowError(f"`{' '.join(command)}` failed ({done.stderr.strip()}): ask Slurm's administrator.")
    return done.stdout
