import torch
from torch import nn

from digsite.models.architectures.gru import GruLayer


def test_it_is_torchs_gru():
    ours, theirs = GruLayer(5, 7), nn.GRU(5, 7, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(3, 6, 5)
    torch.testing.assert_close(ours(x), theirs(x)[0])
