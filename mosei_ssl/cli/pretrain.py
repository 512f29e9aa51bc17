"""Pretrain a backbone by self-supervision: no label is used.

An interrupted run resumes where it was: give the same command again.

Example:
  mosei-ssl pretrain --run runs/pre --config small_pretrain --epochs 40
"""

from dataclasses import dataclass
from typing import Literal

from mosei_ssl.config import PretrainConfig


@dataclass(kw_only=True)
class PretrainOptions(PretrainConfig):
    """Options of `mosei-ssl pretrain`.

    Args:
        strategy: devices that share each batch: one, or all of this machine.
        profile_steps: FIRST,LAST: profile these steps, counted from 1, for TensorBoard.
    """

    strategy: Literal["none", "mirrored"] = "none"
    profile_steps: str | None = None


def run(options: PretrainOptions) -> int:
    from mosei_ssl.training import pretrain

    values = dict(vars(options))
    how = {name: values.pop(name) for name in ("strategy", "profile_steps")}
    pretrain(PretrainConfig(**values), **how)
    return 0
