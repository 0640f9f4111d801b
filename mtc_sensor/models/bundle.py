"""Bundles: a folder with everything that serving a model needs, and nothing that runs code.

::

    <name>/bundle.yaml  weights.safetensors  reference.safetensors  card.md  neighbours.safetensors

A model of scikit-learn has `model.onnx` instead of weights.
`neighbours.safetensors`, which may be missing, is what `models.novelty` measures by.
`reference.safetensors` holds an input and the probabilities it gives, so that `verify` can tell
whether this machine computes what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import safetensors.torch
import torch
import yaml
from torch import Tensor, nn

from mtc_sensor._yaml import load_yaml, nearest
from mtc_sensor.errors import BundleError
from mtc_sensor.features.spec import FeatureSpec, FusionSpec, parse_spec
from mtc_sensor.models import novelty
from mtc_sensor.models.forest import FORESTS, OnnxForest
from mtc_sensor.models.networks import NETWORKS, empty_network
from mtc_sensor.models.schema import BundleConfig
from mtc_sensor.models.weights import (
    PICKLE_SUFFIXES,
    check_tensors,
    read_file,
    read_tensors,
    sha256_of,
)

CONFIG = "bundle.yaml"
WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"
REFERENCE = "reference.safetensors"
NEIGHBOURS = "neighbours.safetensors"
CARD = "card.md"
TOLERANCE = 1e-4
"""How far probabilities may be from the reference ones, on any device."""

_MAX_CONFIG = 1 << 17
"""Bytes of a bundle.yaml; a vocabulary is most of it."""

_PACKAGE = Path(__file__).resolve().parent.parent
SHIPPED = (_PACKAGE / "_shipped" / "models", _PACKAGE.parent / "models")
"""Where shipped bundles are: in an installed package, and in a checkout."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that has passed all checks; the network is on the CPU, in evaluation mode."""

    path: Path
    config: BundleConfig
    spec: FeatureSpec
    network: nn.Module
    neighbours: novelty.Neighbours | None = None
    members: tuple[Bundle, ...] = ()
    """The bundles that a fusion asks."""

    def to(self, device: torch.device) -> None:
        """Move to the device where inputs will be."""
        self.network.to(device)
        if self.neighbours is not None:
            self.neighbours.to(device)

    @cached_property
    def _described(self) -> nn.Linear | None:
        return novelty.described(self.network)

    def probabilities(self, inputs: Tensor) -> Tensor:
        """Return (B, labels) float32 probabilities of a batch of inputs."""
        return self.outputs(inputs)[0]

    def outputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, labels) float32 probabilities and (B, d) features of a batch of inputs."""
        logits, features = novelty.with_features(self.network, self._described, inputs)
        return torch.softmax(logits.float() / self.config.temperature, dim=1), features


def find_bundles() -> dict[str, Path]:
    """Return the shipped bundles: name -> folder, sorted by name."""
    folders = [f.parent for root in reversed(SHIPPED) for f in root.glob(f"*/{CONFIG}")]
    return {folder.name: folder for folder in sorted(folders, key=lambda folder: folder.name)}


def bundle_path(name: str) -> Path:
    """Return the folder of a shipped bundle's name, or of a path to a folder.

    Raises BundleError for what is neither.
    """
    shipped = find_bundles()
    if name in shipped:
        return shipped[name]
    path = Path(name)
    if path.is_dir():
        return path
    raise BundleError(f"{name}: no such bundle: {nearest(name, shipped)}, or give a folder")


def find_member(path: Path, name: str) -> Path:
    """Return the folder of a fusion's member: in the fusion's own, beside it, or a shipped one.

    What is in a fusion's folder is not listed among the shipped bundles, so it judges through the
    fusion only. Raises BundleError if there is none.
    """
    own, beside = path.resolve() / name, path.resolve().parent / name
    return next((f for f in (own, beside) if (f / CONFIG).is_file()), None) or bundle_path(name)


def load_bundle(path: Path) -> Bundle:
    """Load the bundle in the folder `path`, trusting nothing in it.

    Raises BundleError, naming file, key, value and remedy, for anything that does not fit together:
    an unknown key, a spec that the features cannot produce, a wrong hash, tensors that are not the
    network's, numbers that are not finite, a pickle, an absurd size, a file outside the folder.
    """
    _check_folder(path)
    config = load_yaml(_inside(path, CONFIG), BundleConfig, BundleError, _MAX_CONFIG)
    spec = _spec(path / CONFIG, config)
    network = (_forest if config.network.name in FORESTS else _network)(path, config, spec)
    network.eval().requires_grad_(False)
    members = _members(path, spec) if isinstance(spec, FusionSpec) else ()
    return Bundle(path, config, spec, network, _neighbours(path, config, spec, network), members)


def verify(path: Path) -> float:
    """Load a bundle, compute its reference and return the largest difference of a probability.

    Of a fusion's members, too. Raises BundleError if one does not load, or beyond `TOLERANCE`.
    """
    bundle = load_bundle(path)
    return max(map(check_reference, (bundle, *bundle.members)))


def check_reference(bundle: Bundle, device: torch.device | None = None) -> float:
    """Compute a loaded bundle's reference and return the largest difference of a probability.

    `device` is where the network is, if not the CPU. Raises BundleError beyond `TOLERANCE`.
    """
    file = _inside(bundle.path, REFERENCE)
    tensors = read_tensors(file, bundle.config.reference_sha256, "reference_sha256")
    if tensors.keys() != {"input", "probabilities"}:
        raise BundleError(
            f"{file}: holds {sorted(tensors)}, not input and probabilities: save it again"
        )
    try:
        with torch.inference_mode():
            found = bundle.probabilities(tensors["input"].to(device)).cpu()
            difference = (found - tensors["probabilities"]).abs().max()
    except RuntimeError as fault:
        raise BundleError(f"{file}: does not fit the network ({fault}): save it again") from fault
    if not float(difference) <= TOLERANCE:
        raise BundleError(
            f"{file}: probabilities differ by {float(difference):.2g} (at most {TOLERANCE}) on "
            f"{device or 'cpu'}: this machine's torch is another: see constraints.txt"
        )
    return float(difference)


def save_bundle(
    path: Path, config: Mapping[str, object], network: nn.Module, reference: Tensor, card: str
) -> Bundle:
    """Write a bundle, with the hashes, and load it again.

    `config` is `bundle.yaml` without the hashes, `reference` a batch of inputs. Raises BundleError
    if what was written would be refused.
    """
    path.mkdir(parents=True, exist_ok=True)
    network.eval()
    with torch.inference_mode():
        temperature = float(str(config["temperature"]))
        probabilities = torch.softmax(network(reference).float() / temperature, dim=1)
    if isinstance(network, OnnxForest):
        (path / ONNX).write_bytes(network.data)
        weights = sha256_of(network.data)
    else:
        tensors = network.state_dict().items()
        weights = _save(path / WEIGHTS, {name: value.contiguous() for name, value in tensors})
    hashes = {
        "weights_sha256": weights,
        "reference_sha256": _save(
            path / REFERENCE, {"input": reference, "probabilities": probabilities}
        ),
    }
    (path / CONFIG).write_text(yaml.safe_dump({**config, **hashes}, sort_keys=False))
    (path / CARD).write_text(card)
    verify(path)
    return load_bundle(path)


def _save(path: Path, tensors: dict[str, Tensor]) -> str:
    data = safetensors.torch.save(tensors)
    path.write_bytes(data)
    return sha256_of(data)


def _check_folder(path: Path) -> None:
    if not path.is_dir():
        raise BundleError(f"{path}: not a folder: a bundle is a folder that holds {CONFIG}")
    pickles = sorted(f.name for f in path.iterdir() if f.suffix.lower() in PICKLE_SUFFIXES)
    if pickles:
        raise BundleError(
            f"{path / pickles[0]}: pickled models are refused, because loading one can run "
            f"code: delete it; weights belong in {WEIGHTS}"
        )


def _neighbours(
    path: Path, config: BundleConfig, spec: FeatureSpec, network: nn.Module
) -> novelty.Neighbours | None:
    if config.novelty is None:
        return None
    file = _inside(path, NEIGHBOURS)
    tensors = read_tensors(file, config.novelty.neighbours_sha256, "novelty.neighbours_sha256")
    features, width = tensors.get("features"), novelty.feature_width(network, spec.shape)
    fits = features is not None and features.ndim == 2 and features.shape[1] == width
    if features is None or not fits or not 0 < len(features) <= novelty.MAX_NEIGHBOURS:
        raise BundleError(
            f"{file}: does not hold {width} features of each of 1 to {novelty.MAX_NEIGHBOURS} "
            "inputs: calibrate the bundle again"
        )
    return novelty.Neighbours(features, config.novelty.k)


def _inside(path: Path, name: str) -> Path:
    """Return the file `name`, after links, which may not lead out of the folder."""
    file = (path / name).resolve()
    if not file.is_relative_to(path.resolve()):
        raise BundleError(f"{path / name}: links to {file}, outside the bundle: copy it there")
    if not file.is_file():
        raise BundleError(f"{path / name}: no such file: copy the whole folder again")
    return path / name


def _spec(file: Path, config: BundleConfig) -> FeatureSpec:
    try:
        return parse_spec(config.input)
    except BundleError as fault:
        raise BundleError(f"{file}: input: {fault}") from fault


def _network(path: Path, config: BundleConfig, spec: FeatureSpec) -> nn.Module:
    """Make the network, however large, without memory for weights, then read these."""
    name, file = config.network.name, path / CONFIG
    if name not in NETWORKS:
        known = {*NETWORKS, *FORESTS}
        raise BundleError(f"{file}: network.name: unknown network {name}: {nearest(name, known)}")
    if (name == "fusion") != isinstance(spec, FusionSpec):
        raise BundleError(f"{file}: network.name: {name} does not go with input {spec.kind}")
    try:
        network = empty_network(name, spec.shape, len(config.labels), config.network.args)
    except (TypeError, ValueError, RuntimeError) as fault:
        raise BundleError(f"{file}: network: {name} cannot be made: {fault}") from fault
    weights = _inside(path, WEIGHTS)
    tensors = read_tensors(weights, config.weights_sha256, "weights_sha256")
    check_tensors(weights, tensors, network)
    network.load_state_dict(tensors, assign=True)
    return network


def _forest(path: Path, config: BundleConfig, spec: FeatureSpec) -> nn.Module:
    file = _inside(path, ONNX)
    data = read_file(file, config.weights_sha256, "weights_sha256")
    try:
        return OnnxForest(data, spec.shape, len(config.labels))
    except ImportError as fault:
        raise BundleError(
            f"{file}: {fault}: a model of scikit-learn needs pip install onnx onnxruntime"
        ) from fault
    except ValueError as fault:
        raise BundleError(f"{file}: not a model of this product: {fault}") from fault


def _members(path: Path, spec: FusionSpec) -> tuple[Bundle, ...]:
    """Load the bundles that a fusion asks."""
    file, found = path / CONFIG, []
    for member in spec.members:
        folder = find_member(path, member.name)
        stated = sha256_of((folder / CONFIG).read_bytes())
        if stated != member.sha256:
            raise BundleError(
                f"{file}: input.members: {folder / CONFIG} has SHA-256 {stated}, not "
                f"{member.sha256}: it was trained or calibrated again; train the fusion, too"
            )
        bundle = load_bundle(folder)
        if bundle.members or bundle.config.evidence_width != member.values:
            raise BundleError(f"{file}: input.members: {member.name} does not give what it should")
        found.append(bundle)
    return tuple(found)
