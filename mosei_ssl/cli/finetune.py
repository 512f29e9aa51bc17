"""Train the emotion model on a label budget.

With --pretrained it is the self-supervised arm, with --from-scratch the baseline: the same
backbone with fresh weights. An interrupted run resumes where it was: give the same command again.

Examples:
  mosei-ssl finetune --run runs/ssl100 --labels 100 --pretrained runs/pre
  mosei-ssl finetune --run runs/base100 --labels 100 --from-scratch
"""

from mosei_ssl.config import FinetuneConfig


def run(options: FinetuneConfig) -> int:
    from mosei_ssl.training import finetune

    finetune(options)
    return 0
