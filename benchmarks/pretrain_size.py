"""The size of the model in the pretraining benchmarks, the same for ours and the peer."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Size:
    """Size of the model, ours and the peer's."""

    hidden: int = 128
    layers: int = 3
    heads: int = 4
    feedforward: int = 256
    features: int = 74  # columns of a frame
    # After the positions and of both residual branches. PyTorch's layer also drops attention
    # weights, at the same rate; ours does not.
    dropout: float = 0.1
    ratio: float = 0.3  # of hidden frames
    span: int = 5  # frames of a hidden span

    def flops(self, batch: int, steps: int) -> float:
        """Floating-point operations of the matrix products of one training step.

        Forward, and twice that backward; what element-wise work needs is not counted, nor what
        recomputation repeats.
        """
        dense = self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.feedforward)
        dense += 2 * self.hidden * self.features
        attention = self.layers * 2 * steps * self.hidden
        return 3 * 2 * batch * steps * (dense + attention)
