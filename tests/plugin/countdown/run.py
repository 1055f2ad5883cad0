"""A tiny resumable computation: random numbers, added up."""

import errno
import time

import torch


def countdown(config, run):
    offset = run.once("offset", lambda: {"value": torch.randn(3, generator=run.generator("offset"))})["value"]
    state = {"sum": torch.zeros(3)}
    for step in run.steps(config.steps, save=lambda: state, load=state.update):
        if step == config.fail_at:
            raise ValueError("as asked")
        if step == config.full_disk_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        state["sum"] = state["sum"] + torch.randn(3, generator=run.generator("numbers", step))
        run.log(step, total=float(state["sum"].sum()))
        time.sleep(config.sleep_s)
    conclude(config, run, state["sum"] + offset)


def conclude(config, run, total):
    run.tensors("total", {"total": total})
    run.claim("total", float(total.sum()), n=config.steps, null=0.0)
    run.verdict(f"The numbers add up to {float(total.sum()):.3f}.")


METHODS = {"countdown": countdown}


def together(configs, runs):
    """The numbers of all members, stacked; each member's are those that it draws alone."""
    states = [{"sum": torch.zeros(3)} for _ in configs]
    leader, config = runs[0], configs[0]
    load = lambda stored: [state.update(new) for state, new in zip(states, stored["states"])]  # noqa: E731
    for step in leader.steps(config.steps, save=lambda: {"states": states}, load=load):
        if step == config.fail_at:
            raise ValueError("as asked")
        for run, state in zip(runs, states):
            state["sum"] = state["sum"] + torch.randn(3, generator=run.generator("numbers", step))
            run.log(step, total=float(state["sum"].sum()))
        time.sleep(config.sleep_s)
    for run, state, each in zip(runs, states, configs):
        conclude(each, run, state["sum"] + torch.randn(3, generator=run.generator("offset")))


PACKED = {"countdown": together}
