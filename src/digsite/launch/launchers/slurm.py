"""SLURM job arrays by plain `sbatch`: one task per chunk of runs, states read from the run directories."""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from digsite.base.errors import UsageError
from digsite.launch.work import Options, Work, cut_chunks, process_environment, work_left
from digsite.record.sweeps import Sweep

MAX_ARRAY = 1000  # SLURM's default MaxArraySize is 1001
CHUNK_MINUTES = 30.0  # short runs share a task, so that 10,000 runs do not become 10,000 jobs
WARNING_S = 60  # time before the limit at which the job is told to checkpoint
MAX_RESUBMITS = 50

SCRIPT = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}{parallel}
#SBATCH --output={folder}/%A_%a.out
#SBATCH --cpus-per-task={cpus}
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@{warning}
{options}
export {settings} DIGSITE_RESUBMITS=$((${{DIGSITE_RESUBMITS:-0}} + 1))
cd {cwd}
{command} < {folder}/chunk_$SLURM_ARRAY_TASK_ID.txt &
pid=$!
# Bash delivers a trapped signal only between commands, so the work runs in the background.
trap 'kill -USR1 $pid' USR1 TERM
wait $pid; code=$?
while kill -0 $pid 2>/dev/null; do wait $pid; code=$?; done
# 75 means: checkpoint written, please run me again; 138: told to stop (USR1) before it had started to listen.
# A new job, because SLURM holds requeued ones for two minutes.
if {{ [ $code = 75 ] || [ $code = 138 ]; }} && [ $DIGSITE_RESUBMITS -lt {resubmits} ]; then
  sbatch --array=$SLURM_ARRAY_TASK_ID --export=ALL {folder}/job.sh
fi
exit $code
"""


def launch(sweep: Sweep, argument: str, options: Options) -> int:
    """An array job of chunks; with `wait` the exit code is that of the worst run."""
    require_slurm()
    pieces = work_left(sweep, only_failed=options.only_failed)
    if not pieces:
        return 0
    script = write_job(sweep, pieces, options)
    submit_script(script)
    return wait_for(sweep, f"digsite-{sweep.name}{options.job_suffix}") if options.wait else 0


def require_slurm() -> None:
    """Said before anything is written."""
    if not shutil.which("sbatch"):
        raise UsageError(
            "There is no SLURM on this machine: 'sbatch' was not found.",
            hint="Run here instead: --on local:2",
        )


def write_job(sweep: Sweep, pieces: Sequence[Work], options: Options) -> Path:
    """A folder with one file of work per array task, and the script."""
    folder = sweep.folder.absolute() / "slurm" / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    folder.mkdir(parents=True)
    parts = list(cut_chunks(pieces, options.chunk or chunk_size(sweep, len(pieces))))
    for index, part in enumerate(parts):
        (folder / f"chunk_{index}.txt").write_text(
            "".join(f"{_absolute_paths(piece).line}\n" for piece in part)
        )
    script = folder / "job.sh"
    script.write_text(job_script(sweep, folder, len(parts), options))
    return script


def _absolute_paths(piece: Work) -> Work:
    """A job starts in another folder."""
    return Work(tuple(path.absolute() for path in piece.paths), piece.packed)


def chunk_size(sweep: Sweep, n: int) -> int:
    """As many runs as half an hour holds, and never more tasks than an array takes."""
    minutes = max((member.minutes for member in sweep.members), default=1.0)
    return max(1, int(CHUNK_MINUTES / max(minutes, 0.01)), -(-n // MAX_ARRAY)) if n > 1 else 1


def job_script(sweep: Sweep, folder: Path, n: int, options: Options) -> str:
    """The whole script, for people to read and send again."""
    extra = {
        "--time": options.time_limit_min,
        "--partition": options.partition,
        "--gpus-per-task": options.gpus,
    }
    return SCRIPT.format(
        name=f"digsite-{sweep.name}{options.job_suffix}",
        last=n - 1,
        parallel=f"%{options.max_parallel}" if options.max_parallel else "",
        folder=shlex.quote(str(folder)),
        cwd=shlex.quote(str(Path.cwd())),
        settings=" ".join(f"{k}={shlex.quote(v)}" for k, v in process_environment(sweep, options).items()),
        command=shlex.join(options.command),
        cpus=options.cpus,
        warning=WARNING_S,
        resubmits=MAX_RESUBMITS,
        options="\n".join(f"#SBATCH {flag}={value}" for flag, value in extra.items() if value),
    )


def submit_script(script: Path) -> str:
    """The job's number."""
    done = subprocess.run(
        ["sbatch", "--parsable", str(script)], capture_output=True, text=True, env=os.environ
    )
    if done.returncode:
        raise UsageError(f"SLURM refused the job: {done.stderr.strip()}", hint=f"The script is {script}.")
    return done.stdout.strip().partition(";")[0]


def wait_for(sweep: Sweep, name: str) -> int:
    """Until nothing is left, or nothing of ours is in the queue any more; asks ever less often."""
    pause = 1.0
    while True:
        counts = sweep.counts()
        if counts["finished"] == len(sweep.members):
            return 0
        if not counts["running"] and not in_queue(name):
            return 75 if sweep.counts()["interrupted"] else int(bool(work_left(sweep)))
        time.sleep(pause)
        pause = min(pause * 1.3, 15.0)


def in_queue(name: str) -> bool:
    """Whether any task of the job is left."""
    done = subprocess.run(
        ["squeue", "--noheader", "--name", name, "--format=%i"], capture_output=True, text=True
    )
    return bool(done.stdout.strip())
