"""What a zoo holds, as pictures."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from digsite.figures import curves, histogram


def accuracies(labels: pd.DataFrame, by: str) -> Figure:
    """Test accuracies of the members, told apart by one factor."""
    groups = {str(name): rows["test_accuracy"].to_numpy() for name, rows in labels.groupby(by)}
    return histogram(groups, x="test accuracy", y="networks", title=f"by {by}")


def courses(labels: pd.DataFrame) -> Figure:
    """Test accuracy over the stored checkpoints: median, with the middle half of the networks as a band."""
    columns = [name for name in labels if name.startswith("test_accuracy@")]
    steps = [1 + int(name.partition("@")[2]) for name in columns]
    low, middle, high = np.quantile(labels[columns].to_numpy(), [0.25, 0.5, 0.75], axis=0)
    lines = {"median": (steps, middle)}
    return curves(lines, x="training step + 1", y="test accuracy", bands={"median": (low, high)}, log_x=True)
