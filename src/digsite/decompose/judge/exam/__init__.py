"""What the exam asks of a decomposition of a program that is known: function, parts, use and graph; one file each."""
