"""Studies that need several rooms, above the rooms: what one room finds, another one uses or tests."""
