"""One file per study of the room: the only files here that touch a run directory."""
