"""A small file system of this process's own, on which a pass ends before it is full: see
test_disasters.py.

Prints the exit codes of the pass and, once there is room, of its --resume.
"""

import ctypes
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000
NOT_ALLOWED = 77


def own_mounts() -> None:
    """What this process and its children mount is theirs alone; needs no rights."""
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_USER | NEW_MOUNTS):
        sys.exit(NOT_ALLOWED)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def exit_code(*verb: str) -> int:
    """Of `nvgctl` with these words, in a process of its own."""
    child = os.fork()
    if child == 0:
        sys.argv = ["nvgctl", *verb]
        runpy.run_module("cli.app", run_name="__main__", alter_sys=True)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(size: str, disk: str, kept: str, *verb: str) -> None:
    """A pass on a disk of so many kilobytes, and one of 64 megabytes; a copy of the store."""
    own_mounts()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", disk], check=True)
    print("first exit", exit_code(*verb), flush=True)
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    print("second exit", exit_code(*verb, "--resume"), flush=True)
    shutil.copytree(Path(disk) / "a.vgs", kept)


if __name__ == "__main__":
    main(*sys.argv[1:])
