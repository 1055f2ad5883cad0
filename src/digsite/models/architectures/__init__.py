"""The networks themselves, as plain modules."""


class Architecture:
    """One kind of network, beside `nn.Module` as a base: made from its config alone, `Mlp(config)`.

    `NAME` is the config's `kind`. Weights that no module of torch draws are drawn by `reset_parameters`.

    Modules are plain torch: nothing in them knows of training, hooks or rooms, so a method that takes a module
    apart works on somebody else's module in the same way. Names of submodules and parameters are those of the
    published checkpoints wherever there are some, for then a checkpoint needs no table of renames.
    """


Member = Architecture
