"""DPO: the policy learns from the choices directly, without a reward model; the yardstick that PPO is measured by."""
