"""``mcnet slurm``: the job script of a run on a Slurm cluster, an array whose jobs share one directory."""

from __future__ import annotations

import math
import re
import shlex
import sys
from pathlib import Path

from mcnet.errors import UsageError
from mcnet.storage import directory as runfiles
from mcnet.storage import members

JOB_HOURS = 4.0  # about what a job of the array gets to do if nothing else is said
MAX_JOBS = 64
DISK_TRIES = 3  # restarts up to which a job that the disk refused is queued again
_TIME = re.compile(r"(\d+-)?\d{1,3}(:\d{2}){0,2}")

_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{jobs}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cpus}
{gpus}#SBATCH --time={time}
#SBATCH --output={name}-%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=USR1@120
# The jobs share one directory and need not run together: each begins with its own share and then helps the others.
# Two minutes before its time is up a job gets USR1: it commits the batch in hand, ends with code 75, is queued again.

srun {command}
code=$?
# A disk that refuses (74) may be well again in a minute: such a job is queued again too, but not for ever.
if [ "$code" -eq 75 ] || {{ [ "$code" -eq 74 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {tries} ]; }}; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def script(
    directory: Path,
    scenario: str | None = None,
    *,
    jobs: int | None = None,
    cpus: int = 1,
    gpus: int = 0,
    time: str = "04:00:00",
) -> str:
    """The text of a job script.

    Parameters
    ----------
    directory : Path
        The directory of the run, on a file system that the nodes share.
    scenario : str, optional
        Begin a run of this scenario; without it the directory holds one already.
    jobs : int, optional
        Size of the array; by default so many that each has some hours to do.
    cpus : int
        Cores, and worker processes, of a job.
    gpus : int
        GPUs of a job, each with a worker process; 0 for the processor.
    time : str
        Time limit of a job, as Slurm writes it.

    Raises
    ------
    UsageError
        If the directory has a name that a job script cannot hold, or ``time`` is no time.
    DataError
        If the directory holds no run and there is no scenario.
    """
    from mcnet.commands.check import cost
    from mcnet.plan.plan import make_plan
    from mcnet.scenario import shipped
    from mcnet.scenario.members import Members, load

    place = directory.resolve()
    if not str(place).isprintable():
        raise UsageError("the name of the directory has control characters. Choose another directory.")
    if not _TIME.fullmatch(time):
        raise UsageError(f"--time {time}: write it as Slurm does, for example 04:00:00 or 2-12.")
    begin = ["resume", str(place)]
    if scenario is None:
        places = members.places(place).values() if members.are_in(place) else [place]
        plans = [runfiles.load_plan(each) for each in places]
    else:
        file = shipped.path(scenario)
        study = load(file)
        plans = [make_plan(each) for each in (study.studies.values() if isinstance(study, Members) else [study])]
        begin = ["run", str(Path(file).resolve()), "--out", str(place)]
    if jobs is None:
        hours = sum(cost(plan).seconds for plan in plans) / 3600 / cpus
        jobs = min(max(math.ceil(hours / JOB_HOURS), 1), MAX_JOBS, max(len(plan.tasks) for plan in plans))
    device = ",".join(f"cuda:{number}" for number in range(gpus)) or "cpu"
    program = Path(sys.executable).with_name("mcnet")
    words = [str(program) if program.exists() else "mcnet", *begin, "--device", device]
    words += ["--workers", str(gpus or cpus), "--quiet"]
    name = re.sub(r"[^A-Za-z0-9._-]", "_", place.name)
    return _SCRIPT.format(
        name=f"mcnet-{name}",
        jobs=jobs,
        cpus=max(cpus, gpus),
        gpus=f"#SBATCH --gpus-per-task={gpus}\n" if gpus else "",
        time=time,
        tries=DISK_TRIES,
        command=f'{shlex.join(words)} --part "$SLURM_ARRAY_TASK_ID/{jobs}"',
    )
