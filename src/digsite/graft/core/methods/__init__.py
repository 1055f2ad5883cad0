"""Graft methods: one file each, found by scanning.

A member has `Options` (a config), `SAME_SHAPE`, `budget(options)` (letters of what it may read),
`message(options, donor)` (all that crosses from the donor) and `apply(options, receiver, message)` (the grafted model).
"""
