"""One torch-free config per architecture, named like its file in `architectures`."""
