"""Bad manners, one by one."""

import os
import signal
import sys
import time


def hostile(config, run):
    run.log(0, seed=float(config.seed))
    MANNERS[config.how](run)
    run.claim("seed", float(config.seed), null=0.0)
    run.verdict("It behaved.")


def well(run):
    pass


def speak(run):
    """Write to descriptor 1 as a C library does, past sys.stdout."""
    os.write(1, b"progress: 50 %\n\xff\xfe without an end")
    os.system("echo from a child")


def answer(run):
    """Write what looks like the worker's own answer."""
    os.write(1, f"{run.dir} 0\n".encode())
    raise ValueError("and yet it failed")


def vanish(run):
    os._exit(0)


def leave(run):
    sys.exit(0)


def kill(run):
    os.kill(os.getpid(), signal.SIGKILL)


def deep(run):
    return deep(run)


def fork(run):
    """A child that keeps the pipe open for long after its parent is gone."""
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
    os._exit(3)


def surrogate(run):
    run.say("half of a pair: \ud800")
    run.table("names", {"name": ["\ud800"]})
    raise ValueError("half of a pair: \ud800")


MANNERS = {f.__name__: f for f in (well, speak, answer, vanish, leave, kill, deep, fork, surrogate)}
METHODS = {"hostile": hostile}
