"""Runs a server and adopts what it leaves behind, so that the processor time of every process of it is counted:
what ended is in the counters of its parent, and no parent is outside of this tree. Ends with whoever started it.

    supervise.py COMMAND…
"""
import ctypes, os, signal, subprocess, sys

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main():
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    server = subprocess.Popen(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    while True:
        pid, _ = os.wait()
        if pid == server.pid:
            break
    for child in children(os.getpid()):
        os.kill(child, signal.SIGTERM)


def children(pid):
    """The children of every thread; a process that ended and was not waited for is one."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as listed:
                found += [int(child) for child in listed.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


if __name__ == "__main__":
    main()
