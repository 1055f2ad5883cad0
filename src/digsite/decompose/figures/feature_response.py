"""The answer to each feature alone: by the target, by all components, and by the important components."""

import torch
from matplotlib.figure import Figure

from digsite.decompose.judge.views import View
from digsite.decompose.subjects.targets import PROBE
from digsite.figures import scatter

CAPTION = "Points on the diagonal: the important components alone answer like the target."


def draw(view: View) -> Figure:
    probe = PROBE * torch.eye(view.n_features).to(next(iter(view.found.params.values())))
    wanted = view.found.scene(probe).output.diagonal().cpu().numpy()
    answers = {
        name: view.found.output(probe, masking).diagonal().cpu().numpy()
        for name, masking in (("all components", "unmasked"), ("important components", "ci"))
    }
    return scatter(
        {name: (wanted, answer) for name, answer in answers.items()},
        x="target's answer to its feature",
        y="answer of the decomposition",
        diagonal=True,
    )
