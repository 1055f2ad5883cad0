from digsite.models import build
from digsite.models.configs.small_cnn import SmallCnnConfig


def test_it_has_the_published_parameters():
    sizes = [sum(p.numel() for p in part.parameters()) for part in (*build(SmallCnnConfig()).convs,)]
    assert sizes == [160, 2320, 2320]
    assert sum(p.numel() for p in build(SmallCnnConfig()).parameters()) == 4970
