"""PPO: the policy learns what the reward model likes, on a leash to the base model."""
