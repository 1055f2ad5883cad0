"""One finished decomposition: its components, what they do on data, models edited through them, and its file."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from digsite.base import atomic
from digsite.base.errors import NotFound, UsageError, name_nearest, one_sentence
from digsite.config import Config, yamlio
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core import components
from digsite.decompose.core.clustering import Clustering, cluster_components
from digsite.decompose.core.components import Components as Components
from digsite.decompose.core.components import Decomposed, ModuleMatch, compare
from digsite.decompose.core.explain import Explanation, explain_component
from digsite.decompose.core.masks import USED, Masks
from digsite.decompose.core.scene import Plan, Scene, get_factors, observe_batch
from digsite.decompose.core.target import Target
from digsite.weights import parse_reference, read_weights
from digsite.weights.formats.folder import SPD_RUN
from digsite.weights.hub import OnHub
from digsite.weights.sources.local import locate_artifact
from digsite.weights.sources.remote import fetch_file

Choice = Mapping[str, Sequence[int]]  # module -> component numbers


class Decomposition(OnHub):
    """Reads its own frozen copy of the model; nothing here changes the model it was made from."""

    SAVED_AS = "decomposition.safetensors"

    def __init__(
        self, plan: Plan, params: Mapping[str, Tensor], config: DecomposeConfig, origin: dict[str, Any]
    ) -> None:
        self.plan, self.params, self.config, self.origin = plan, dict(params), config, origin

    @property
    def modules(self) -> list[str]:
        """Names of the decomposed modules."""
        return list(self.plan.target.sites)

    def _repr_html_(self) -> str:
        """In a notebook: modules with their components, and how strong those are."""
        from digsite.figures import curves
        from digsite.figures.style import notebook_card

        norms = {
            module: self.components(module).norms.detach().sort(descending=True).values
            for module in self.modules
        }
        facts = {module: f"{len(values)} components" for module, values in norms.items()}
        ranked = {module: (range(1, len(v) + 1), v.cpu().numpy()) for module, v in list(norms.items())[:8]}
        figure = curves(ranked, x="component, strongest first", y="norm of V times norm of U", log_y=True)
        return notebook_card("Decomposition", facts, figure)

    @property
    def model(self) -> nn.Module:
        """The frozen copy of the target."""
        return self.plan.target.model

    def components(self, module: str) -> Components:
        """Parts of one module, V (d_in, C) and U (C, d_out), beside its weight."""
        self._check(module)
        v, u = get_factors(self.params, self.plan.owners, module)
        return Components(v, u, self.plan.target.sites[module].get_matrix().detach())

    @torch.no_grad()
    def scene(self, batch: Any) -> Scene:
        """Importances, outputs and distances on a batch, of this member."""
        return observe_batch(self.plan, None, self.params, batch)

    def importance(self, batch: Any) -> dict[str, Tensor]:
        """Causal importance of every component at every position, in [0, 1], by module."""
        return self.scene(batch).importance.lower

    @torch.no_grad()
    def output(
        self,
        batch: Any,
        masking: str = "ci",
        *,
        threshold: float = USED,
        generator: torch.Generator | None = None,
        modules: Sequence[str] | None = None,
    ) -> Tensor:
        """The model's output with components masked: by importance, rounded importance, stochastically, ..."""
        scene = self.scene(batch)
        drawn = self.draw(scene, masking, threshold, generator)
        return scene.forward(drawn if modules is None else drawn.restrict_sites(modules))

    def draw(
        self, scene: Scene, masking: str, threshold: float = USED, generator: torch.Generator | None = None
    ) -> Masks:
        """Masks of one of the MASKINGS on a scene."""
        return scene.draw_masks(masking, threshold, generator)

    # --- what the components are about ----------------------------------------------------------------------

    def explain(self, module: str, component: int, batch: Tensor, n_top: int = 10) -> Explanation:
        """Top inputs, moved outputs, nearest neuron and singular direction of one component."""
        self._check(module)
        return explain_component(self, module, component, batch, n_top)

    def compare(self, other: Decomposition) -> dict[str, ModuleMatch]:
        """Match the components of two decompositions, module by module."""
        return compare(self, other)

    def cluster(self, batch: Any, *, threshold: float = USED) -> Clustering:
        """Components across modules that act together, as mechanisms."""
        return cluster_components(self.importance(batch), threshold=threshold)

    # --- edited models ------------------------------------------------------------------------------------

    def edit(self, scales: Mapping[str, Mapping[int, float]]) -> nn.Module:
        """A copy of the model in which each named component is scaled; everything else stays, the residual too."""
        return components.scale_components(self, scales)

    def ablate(self, off: Choice) -> nn.Module:
        """A copy of the model without these components."""
        return self.edit({module: dict.fromkeys(numbers, 0.0) for module, numbers in off.items()})

    def keep(self, on: Choice, *, residual: bool = False) -> nn.Module:
        """A copy of the model whose named modules consist of these components alone."""
        return components.keep_components(self, on, residual)

    # --- files ----------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """One safetensors file: parts, gates, the target's weights, and the settings as metadata."""
        return save_decomposition(self, Path(path))

    @classmethod
    def open_saved(cls, path: Path) -> Decomposition:
        return cls.load(path)

    @classmethod
    def load(cls, reference: str | Path, *, model: nn.Module | None = None) -> Decomposition:
        """From a path, `run:ID` or a run of the reference SPD code; `model` gives the architecture when it is not one of
        digsite's own.
        """
        run = find_spd_run(reference)
        return cls(*(load_decomposition(reference, model) if run is None else load_spd_run(run, model)))

    def _check(self, module: str) -> None:
        """Refuses a module that has no parts, with the nearest name."""
        if module not in self.plan.target.sites:
            raise UsageError(
                f"The module '{module}' was not decomposed. {name_nearest(module, self.modules)}"
            )


# Decompositions as files: safetensors with the settings in its metadata; no pickle.

SCHEMA = 1
Stored = tuple[Plan, dict[str, Tensor], DecomposeConfig, dict[str, Any]]
ARTIFACT = "artifacts/decomposition.safetensors"


def list_contents(decomposition: Decomposed) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of the file."""
    tensors = {f"parts/{key}": value for key, value in decomposition.params.items()}
    seen: set[int] = set()
    for name, value in decomposition.model.state_dict().items():
        tensors[f"target/{name}"] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    model = getattr(decomposition.model, "config", None)
    settings = {
        "schema": SCHEMA,
        "config": decomposition.config.model_dump(mode="json"),
        "model": model.model_dump(mode="json") if isinstance(model, Config) else None,
        "owners": decomposition.plan.owners,
        "unit": decomposition.plan.unit,
        **decomposition.origin,
    }
    return tensors, {"decomposition": json.dumps(settings)}


def save_decomposition(decomposition: Decomposed, path: Path) -> Path:
    """One safetensors file with everything that is needed to open it again without the run."""
    tensors, metadata = list_contents(decomposition)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replace_file(path) as temporary:
        save_file(
            {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()},
            temporary,
            metadata=metadata,
        )
    return path


def load_decomposition(reference: str | Path, model: nn.Module | None) -> Stored:
    """The four fields of a stored decomposition; `model` gives the architecture where the file does not."""
    path = locate_file(str(reference))
    with safe_open(path, framework="pt") as file:
        settings = json.loads((file.metadata() or {}).get("decomposition", "null"))
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if settings is None:
        raise UsageError(f"'{path}' is not a decomposition: its metadata does not say how it was made.")
    config = DecomposeConfig.model_validate(settings["config"])
    state = {k.removeprefix("target/"): v for k, v in tensors.items() if k.startswith("target/")}
    target = rebuild_target(settings, state, model, path)
    plan = Plan(target, settings["owners"], config.gate, config.sigmoid, config.delta, config.compare)
    plan = replace(plan, unit=settings.get("unit", 1.0))
    params = {k.removeprefix("parts/"): v for k, v in tensors.items() if k.startswith("parts/")}
    return plan, params, config, {key: settings[key] for key in ("modules", "identity", "output")}


def rebuild_target(
    settings: dict[str, Any], state: dict[str, Tensor], model: nn.Module | None, path: Path
) -> Target:
    """The target as it was: from the file, or in the model that the user gives."""
    if model is None and settings["model"] is None:
        raise UsageError(
            f"'{path}' does not say which architecture it is for.",
            hint="Give it: Decomposition.load(path, model=...).",
        )
    if model is None:
        from digsite.models import empty, parse

        model = empty(parse(settings["model"]))
    target = Target(model, settings["modules"], identity=settings["identity"], output=settings["output"])
    target.model.load_state_dict(state)
    return target


def locate_file(reference: str) -> Path:
    """A file, a folder that holds one, `run:ID`, `run:ID#member-3` or `wandb:...`."""
    parsed = parse_reference(reference)
    if parsed.scheme == "run":
        return locate_artifact(parsed.target, parsed.member or "decomposition")
    if parsed.scheme == "wandb":
        return fetch_file(parsed.target, parsed.member)
    path = Path(parsed.target)
    path = path / ARTIFACT if path.is_dir() else path
    if not path.is_file():
        raise NotFound(f"There is no decomposition at '{reference}'.")
    return path


# Runs of the reference SPD code: `final_config.yaml` and checkpoints, which hold the target under `target_model.`, V and U
# of each module under `_components.` and its gate under `_ci_fns.` (once `_gates.`), with dashes for the dots of its name.

SPD_SIGMOIDS = {"leaky_hard": "leaky_hard", "hard": "hard", "normal": "normal", "swish_hard": "swish"}
SPD_TARGET, SPD_PARTS = "target_model.", "_components."


@dataclass(frozen=True)
class SpdGate:
    """One kind of the reference's gates: ours, and whether a network is for all parts of a module, or reads its whole input."""

    ours: str
    for_all: bool = False
    reads_inputs: bool = False


SPD_GATES = {
    "mlp": SpdGate("mlp"),
    "vector_mlp": SpdGate("vector", reads_inputs=True),
    "shared_mlp": SpdGate("shared", for_all=True, reads_inputs=True),
}


def find_spd_run(reference: str | Path) -> Path | None:
    """The folder of a run of the reference SPD code, or one of its checkpoints; None where `reference` is neither."""
    parsed = parse_reference(str(reference))
    path = Path(parsed.target).expanduser()
    folder = path if path.is_dir() else path.parent
    is_weights = path.is_dir() or (path.is_file() and path.suffix in (".pth", ".pt"))
    return path if parsed.is_file and is_weights and (folder / SPD_RUN).is_file() else None


def load_spd_run(path: Path, model: nn.Module | None = None) -> Stored:
    """The four fields of a decomposition that the reference code trained; `model` is its target where that is no toy."""
    tensors = dict(read_weights(str(path)).tensors.items())
    settings = yamlio.load_yaml((path if path.is_dir() else path.parent) / SPD_RUN)
    own = _make_spd_target(path, tensors, model)
    names = _name_spd_modules(path, tensors, own)
    params = {
        f"{name}/{part}": tensors[f"{SPD_PARTS}{key}.{part}"]
        for key, name in names.items()
        for part in ("V", "U")
    }
    gates, gate = _read_spd_gates(path, settings, tensors, names)
    sigmoid = settings.get("sigmoid_type", "leaky_hard")
    if sigmoid not in SPD_SIGMOIDS:
        raise UsageError(
            f"The sigmoid '{sigmoid}' of '{path}' is not known; known are {', '.join(SPD_SIGMOIDS)}."
        )
    given = {
        "C": {name: len(params[f"{name}/U"]) for name in names.values()},
        "gate": gate,
        "sigmoid": SPD_SIGMOIDS[sigmoid],
        "delta": bool(settings.get("use_delta_component", False)),
        "compare": "kl" if settings.get("output_loss_type") == "kl" else "mse",
        "tied": False,
    }
    config = DecomposeConfig.model_validate(given)
    target = Target(own, list(names.values()), identity=[], output="")
    owners = {name: name for name in names.values()}
    plan = Plan(target, owners, config.gate, config.sigmoid, config.delta, config.compare)
    return plan, params | gates, config, {"modules": list(owners), "identity": [], "output": ""}


def _make_spd_target(path: Path, tensors: Mapping[str, Tensor], model: nn.Module | None) -> nn.Module:
    """A toy by the names of its tensors, or the user's module with the weights of the file."""
    from digsite.models import load_model

    if model is None:
        return load_model(str(path)).eval()
    state = {k.removeprefix(SPD_TARGET): v for k, v in tensors.items() if k.startswith(SPD_TARGET)}
    own = copy.deepcopy(model).eval()
    with one_sentence(
        f"Filling the target of '{path}'", "Give Decomposition.load the module that was decomposed."
    ):
        own.load_state_dict(state)
    return own


def _name_spd_modules(path: Path, tensors: Mapping[str, Tensor], target: nn.Module) -> dict[str, str]:
    """The target's names of the modules that have parts, by the names in the file."""
    stored = sorted({key.split(".")[1] for key in tensors if key.startswith(SPD_PARTS)})
    if not stored:
        raise UsageError(f"'{path}' holds no parts: none of its tensors is named '{SPD_PARTS}MODULE.V'.")
    names = {name.replace(".", "-"): name for name, _ in target.named_modules()}
    if strange := [name for name in stored if name not in names]:
        raise UsageError(f"The parts of '{strange[0]}' in '{path}' belong to no module of its target.")
    return {name: names[name] for name in stored}


def _read_spd_gates(
    path: Path, settings: dict[str, Any], tensors: Mapping[str, Tensor], names: Mapping[str, str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Gates in our names, and their settings. A network of one component has a (C, in, out) map in each layer there."""
    asked = settings.get("ci_fn_type", settings.get("gate_type", "mlp"))
    if asked not in SPD_GATES:
        raise UsageError(
            f"The gates of '{path}' are of the kind '{asked}'; known are {', '.join(SPD_GATES)}.",
            hint=f"Its parts can be read as tensors: digsite read {path}",
        )
    gate, params, hidden = SPD_GATES[asked], {}, []
    alone = gate.reads_inputs and not gate.for_all  # ours of this kind have one hidden layer
    for key, name in names.items():
        own = {k: v for k, v in tensors.items() if k.startswith((f"_ci_fns.{key}.", f"_gates.{key}."))}
        places = sorted({int(k.split(".")[-2]) for k in own if k.endswith(".W")})
        layers = [{k[-1]: v for k, v in own.items() if k.split(".")[-2] == str(at)} for at in places]
        if len(layers) < 2 or (alone and len(layers) > 2):
            raise UsageError(
                f"The gate of '{name}' in '{path}' has {len(layers)} layers, and 2 were expected."
            )
        hidden = [layer["b"].shape[-1] for layer in layers[:-1]]
        params |= {f"gate/{name}/{k}": v for k, v in _name_spd_gate(gate, layers).items()}
    return params, {"kind": gate.ours, "hidden": hidden[0] if alone else hidden}


def _name_spd_gate(gate: SpdGate, layers: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """One gate's layers (maps W, biases b) under the names and in the shapes that `core/gates` computes with."""
    if gate.for_all:
        return {f"{n.lower()}{i}": tensor for i, layer in enumerate(layers) for n, tensor in layer.items()}
    named = {"out": layers[-1]["W"][..., 0], "bias": layers[-1]["b"][..., 0]}
    for i, layer in enumerate(layers[:-1]):
        wide = layer["W"].movedim(0, 1).flatten(1) if gate.reads_inputs else layer["W"]
        named |= {f"w{i}": wide, f"b{i}": layer["b"]}
    return named
