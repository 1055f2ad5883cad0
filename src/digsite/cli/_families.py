"""The families that `digsite describe` knows, and where each lives."""

from digsite.base import families

FAMILIES = {
    "architectures": ("digsite.models.architectures", "networks that can be built by name"),
    "datasets": ("digsite.data.sets", "image sets that load by name"),
    "sources": ("digsite.weights.sources", "where the weights of a model come from"),
    "formats": ("digsite.weights.formats", "files and folders of weights that are read"),
    "losses": ("digsite.decompose.core.losses", "loss terms of a decomposition"),
    "metrics": ("digsite.decompose.judge.metrics", "what is measured of a decomposition"),
    "figures": ("digsite.decompose.figures", "what is drawn of a decomposition"),
    "gates": ("digsite.decompose.core.gates", "causal-importance functions"),
    "scores": ("digsite.prune.core.scores", "which weights to prune"),
    "measures": ("digsite.track.core.measures", "dimensionality and change of representations"),
    "detectors": ("digsite.track.core.detectors", "jumps in a series"),
    "readers": ("digsite.read.core.readers", "what predicts properties from weights"),
    "methods": ("digsite.graft.core.methods", "ways to move a concept between networks"),
    "saes": ("digsite.graft.core.saes", "sparse autoencoders"),
}


def present() -> dict[str, str]:
    return {
        name: package for name, (package, _) in FAMILIES.items() if families.find_folder(package).is_dir()
    }
