"""DPO's formulas as pure functions of tensors; A choices, each of one response over another to the same prompt.

Rafailov et al., Direct Preference Optimization (2023, arXiv:2305.18290): the policy that maximises reward minus beta
times its KL to the reference has log-probabilities from which the reward can be read back, up to a constant that no
comparison sees. So the likelihood of the choices under Bradley and Terry's model is a loss on the policy itself.
"""

import torch
from torch import Tensor
from torch.nn import functional


def implicit_reward(logp: Tensor, reference: Tensor, beta: float) -> Tensor:
    """Return beta (log pi - log pi_ref) of whole responses, from their summed log-probabilities; any one shape."""
    return beta * (logp - reference)


def choice_loss(lead: Tensor, margin: Tensor, epsilon: float) -> Tensor:
    """Return the loss in nats of choices [A] whose preferred response leads by `lead` [A] in implicit reward.

    -(1 - epsilon) log sigmoid(lead - margin) - epsilon log sigmoid(-lead - margin). With epsilon a choice is a slip
    for its opposite that often (Mitchell, A note on DPO with noisy preferences, 2023). `margin` [A] >= 0 is how far a
    stronger choice must lead (Amini et al., Direct Preference Optimization with an Offset, 2024, arXiv:2402.10571).
    """
    meant, slipped = -functional.logsigmoid(lead - margin), -functional.logsigmoid(-lead - margin)
    return (1 - epsilon) * meant + epsilon * slipped


def right_share(lead: Tensor) -> float:
    """Return the share of choices [A] whose preferred response leads in implicit reward; equal ones count half."""
    return float(((lead > 0).double() + 0.5 * (lead == 0).double()).mean())


def total_logp(logp: Tensor, mask: Tensor) -> Tensor:
    """Return the log-probability of each response [B] from that of its tokens [B, R]; the mask is true on real ones."""
    return torch.where(mask, logp, 0.0).sum(1)
