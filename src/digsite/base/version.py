"""The version of what is installed: the build reads it from the tags of git, so no file names it."""


def read_version() -> str:
    """A function and no constant: `importlib.metadata` costs as much as all that `digsite --help` needs beside it."""
    from importlib import metadata

    try:
        return metadata.version("digsite")
    except metadata.PackageNotFoundError:  # the source tree alone, on a path
        return "0+unknown"
