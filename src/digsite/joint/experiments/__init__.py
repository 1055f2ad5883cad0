"""One file per kind of study: settings in, run out; the only files that see a Run."""
