"""The peer of the pretraining benchmarks: masked-timestep pretraining in plain PyTorch.

The same architecture as `MaskedTimestepModel` on a `TransformerBackbone`:
a projection, sinusoidal positions, pre-norm blocks with the tanh form of gelu, a final norm and a
linear reconstruction, L1 on hidden frames, AdamW, gradients clipped at norm 1. Features come
standardised already, so cleaning costs the peer nothing.
"""

import contextlib
import math

import torch
from pretrain_size import Size
from torch import nn
from torch.nn import functional


class PlainModel(nn.Module):
    """Masked-timestep model of `nn.TransformerEncoder`."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size
        layer = nn.TransformerEncoderLayer(
            size.hidden,
            size.heads,
            size.feedforward,
            dropout=size.dropout,
            activation=_gelu,
            batch_first=True,
            norm_first=True,
        )
        self.projection = nn.Linear(size.features, size.hidden)
        self.dropout = nn.Dropout(size.dropout)
        self.encoder = nn.TransformerEncoder(
            layer, size.layers, norm=nn.LayerNorm(size.hidden), enable_nested_tensor=False
        )
        self.reconstruct = nn.Linear(size.hidden, size.features)
        self.token = nn.Parameter(0.02 * torch.randn(size.features))
        half = size.hidden // 2
        scale = torch.exp(torch.arange(half) * (-math.log(1000.0) / half))
        angles = torch.arange(4096)[:, None] * scale
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        self.register_buffer("waves", waves, persistent=False)

    def forward(
        self, frames: torch.Tensor, mask: torch.Tensor, hidden: torch.Tensor
    ) -> torch.Tensor:
        """Reconstructs standardised frames [B, T, F].

        `mask` [B, T] is True for real frames, `hidden` [B, T] where the encoder sees the token.
        """
        seen = torch.where(hidden[:, :, None], self.token, frames)
        x = self.dropout(self.projection(seen) + self.waves[: frames.shape[1]])
        return self.reconstruct(self.encoder(x, src_key_padding_mask=~mask))

    def draw(self, mask: torch.Tensor) -> torch.Tensor:
        """Hides spans as `TimestepMasking` does: bool [B, T]."""
        start = 1.0 - (1.0 - self.size.ratio) ** (1.0 / self.size.span)
        begun = ((torch.rand(mask.shape, device=mask.device) < start) & mask).int().cumsum(1)
        before = functional.pad(begun, (self.size.span, 0))[:, : begun.shape[1]]
        return (begun > before) & mask


def _gelu(x: torch.Tensor) -> torch.Tensor:
    return functional.gelu(x, approximate="tanh")


def masked_l1(target: torch.Tensor, output: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Mean absolute error over hidden frames, in float32."""
    error = (output.float() - target).abs().mean(-1)
    return (error * hidden).sum() / hidden.sum().clamp(min=1)


def pooled(
    frames: torch.Tensor, mask: torch.Tensor, factor: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and deviations of every `factor` real frames [B, T', 2F], as `TemporalPooling`."""
    missing = -frames.shape[1] % factor
    windows = functional.pad(frames, (0, 0, 0, missing)).unflatten(1, (-1, factor))
    valid = functional.pad(mask, (0, missing)).unflatten(1, (-1, factor)).float()[..., None]
    count = valid.sum(2).clamp(min=1)
    mean = (windows * valid).sum(2) / count
    variance = ((windows - mean[:, :, None]).square() * valid).sum(2) / count
    return torch.cat([mean, variance.sqrt()], -1), valid[..., 0].any(2)


class PlainTraining:
    """A training loop as people write it, on a GPU if there is one.

    `bfloat16` autocasts, `compiled` uses `torch.compile`, once for all lengths if `dynamic`.
    """

    def __init__(
        self,
        size: Size,
        bfloat16: bool = False,
        compiled: bool = False,
        dynamic: bool | None = None,
        learning_rate: float = 1e-3,
    ):
        torch.manual_seed(0)
        torch.set_float32_matmul_precision("high")  # on a GPU, as TensorFlow and JAX have it
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = PlainModel(size).to(self.device).train()
        self.forward = torch.compile(self.model, dynamic=dynamic) if compiled else self.model
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=learning_rate, weight_decay=0.01
        )
        self.bfloat16 = bfloat16

    def step(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One step on standardised frames [B, T, F] and mask [B, T]; gives the loss."""
        frames, mask = frames.to(self.device), mask.to(self.device)
        hidden = self.model.draw(mask)
        with self._cast():
            output = self.forward(frames, mask, hidden)
        loss = masked_l1(frames, output, hidden)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def loss(self, frames: torch.Tensor, mask: torch.Tensor, hidden: torch.Tensor) -> float:
        """Reconstruction error under given masks, without dropout."""
        frames, mask, hidden = (x.to(self.device) for x in (frames, mask, hidden))
        self.model.eval()
        value = masked_l1(frames, self.model(frames, mask, hidden), hidden)
        self.model.train()
        return float(value)

    def _cast(self):
        if self.bfloat16:
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()
