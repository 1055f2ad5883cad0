"""Where weights come from: one file per scheme, with `read(target, member)`."""
