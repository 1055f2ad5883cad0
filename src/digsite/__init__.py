"""One workbench for the insides of neural networks."""

__version__ = "0.1.0"
