"""The networks themselves, as plain modules."""


class Architecture:
    """One kind of network, beside `nn.Module` as a base: made from its config alone, `Mlp(config)`.

    `NAME` is the config's `kind`. Weights that no module of torch draws are drawn by `reset_parameters`.
    """


Member = Architecture
