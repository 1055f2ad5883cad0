"""A user's own package that writes everything a run directory can hold: what the dashboard is tested on."""
