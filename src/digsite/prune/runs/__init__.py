"""The functions behind the room's studies: only these touch a run directory."""
