"""`python guard.py PARENT_PID COMMAND...`: become COMMAND, and die when the parent does.

A plain script with no imports of ours, so that it costs milliseconds; `gateway.local.processes`
starts every child through it. On Linux the kernel kills the child when the thread that started it
ends. Elsewhere no such promise is to be had, and an orderly stop is all there is.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From `linux/prctl.h`."""


def main(arguments: list[str]) -> None:
    """Tie this process to its parent, then become the command."""
    parent, *command = arguments
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        # SIGKILL: with the parent gone, nobody is left to wait for an orderly end.
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
        if os.getppid() != int(parent):
            sys.exit("the parent ended first")
    os.execvp(command[0], command)  # noqa: S606 -- becoming the command is what this file is for


if __name__ == "__main__":
    main(sys.argv[1:])
