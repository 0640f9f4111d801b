"""One verdict of several models: a linear combination of what each says."""

from __future__ import annotations

from torch import Tensor, nn


class Fusion(nn.Module):
    """Logistic regression over members' evidence (see `FusionSpec`); who was not asked gives zeros.

    Parameters
    ----------
    shape
        Length of the evidence.
    labels
        Width of the output.
    """

    def __init__(self, shape: tuple[int], labels: int) -> None:
        super().__init__()
        self.output = nn.Linear(shape[0], labels)

    def forward(self, evidence: Tensor) -> Tensor:
        """Return (B, labels) logits of (B, values) float32."""
        logits: Tensor = self.output(evidence)
        return logits
