"""Muon in PyTorch for the peer: batched, in bf16, the matrices of one shape in one product.

Keller Jordan, "Muon: an optimizer for hidden layers", 2024, https://kellerjordan.github.io/posts/muon/; the
rule that scales an update to AdamW's root mean square: Liu et al. 2025, arXiv:2502.16982, equation 4.
Left out: sharding the products over processes.

Array names end in their dimensions: N matrices of one shape, R rows, C columns with R <= C.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's: steep at 0, singular values end in about [0.7, 1.2]


def orthogonalise(x_NRC: Tensor, steps: int = 5) -> Tensor:
    """Newton-Schulz: the nearest matrix with orthonormal rows, roughly; bf16 in and out."""
    a, b, c = QUINTIC
    x_NRC = x_NRC.bfloat16()
    x_NRC = x_NRC / (x_NRC.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram_NRR = torch.bmm(x_NRC, x_NRC.mT)
        poly_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        x_NRC = torch.baddbmm(x_NRC, poly_NRR, x_NRC, beta=a)
    return x_NRC


def hidden_matrices(blocks: nn.Module) -> list[tuple[nn.Parameter, int]]:
    """Each weight inside the blocks that is a matrix, and how many matrices it stacks by rows."""
    return [(p, getattr(p, "stacked", 1)) for p in blocks.parameters() if p.ndim == 2]


class Muon(torch.optim.Optimizer):
    """`matrices` as `hidden_matrices` gives them; `weight_decay` is decoupled, as AdamW's."""

    def __init__(
        self,
        matrices: list[tuple[nn.Parameter, int]],
        rate: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        scale: Literal["spectral", "rms"] = "spectral",
        orthogonalise: Callable[[Tensor], Tensor] = orthogonalise,
    ):
        super().__init__([p for p, _ in matrices], {"lr": rate})
        self.momentum, self.weight_decay, self.scale = momentum, weight_decay, scale
        self.orthogonalise = orthogonalise
        self.shapes: dict[tuple[int, int], list[tuple[nn.Parameter, int]]] = {}
        for weight, stacked in matrices:
            rows, columns = weight.shape[0] // stacked, weight.shape[1]
            self.shapes.setdefault((min(rows, columns), max(rows, columns)), []).append((weight, stacked))
        self.buffers = {
            shape: torch.zeros(sum(stacked for _, stacked in members), *shape) for shape, members in self.shapes.items()
        }

    @torch.no_grad()
    def step(self) -> None:
        rate = self.param_groups[0]["lr"]
        for shape, members in self.shapes.items():
            buffer_NRC = self.buffers[shape]
            gradient_NRC = torch.cat([_flat(p.grad, stacked) for p, stacked in members])
            buffer_NRC.lerp_(gradient_NRC, 1 - self.momentum)
            update_NRC = self.orthogonalise(gradient_NRC.lerp_(buffer_NRC, self.momentum))  # Nesterov
            parts = update_NRC.split([stacked for _, stacked in members])
            for (weight, stacked), part_NRC in zip(members, parts, strict=True):
                matrices = weight.view(stacked, -1, weight.shape[1])
                rows, columns = matrices.shape[1:]
                matrices.mul_(1 - rate * self.weight_decay)
                matrices.add_(part_NRC.mT if rows > columns else part_NRC, alpha=-rate * self._scale(rows, columns))

    def _scale(self, rows: int, columns: int) -> float:
        return max(1.0, rows / columns) ** 0.5 if self.scale == "spectral" else 0.2 * max(rows, columns) ** 0.5


def _flat(gradient: Tensor, stacked: int) -> Tensor:
    """The stacked matrices one by one, laid so that rows are not more than columns."""
    gradient_NRC = gradient.view(stacked, -1, gradient.shape[1])
    return gradient_NRC.mT if gradient_NRC.shape[1] > gradient_NRC.shape[2] else gradient_NRC
