"""The machine a run took place on, and how busy others kept it."""

import os
import platform
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

# What a job takes with all that belongs to it, 3.2 kB measured, and room for the log of a fill.
BYTES_PER_JOB = 5_000


@dataclass(frozen=True)
class Machine:
    """`load`: tasks that wanted a core, averaged over the minute before the run."""

    num_cores: int
    cpu: str
    memory_gib: int
    load: float
    python: str

    def as_text(self) -> str:
        """In one line."""
        return (
            f"{self.num_cores} cores ({self.cpu}), {self.memory_gib} GiB, Python {self.python}; "
            f"load {self.load:.1f} before the run"
        )

    def as_json(self) -> dict[str, object]:
        """As it is written to a file."""
        return asdict(self)


def describe_machine() -> Machine:
    """This machine, now."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        num_cores=os.cpu_count() or 1,
        cpu=_cpu_model(),
        memory_gib=round(pages / 2**30),
        load=round(os.getloadavg()[0], 1),
        python=platform.python_version(),
    )


def missing_bytes(folder: Path, num_jobs: int) -> int:
    """How much more room `folder` needs for databases of `num_jobs`; 0 if there is enough."""
    return max(0, num_jobs * BYTES_PER_JOB - shutil.disk_usage(folder).free)


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()
