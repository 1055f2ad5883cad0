"""A user's package whose method behaves badly in a chosen way: what pools and the worker are tested on."""
