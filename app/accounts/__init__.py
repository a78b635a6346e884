"""Who someone is and what they may do: sign-in, sessions, invitations, roles, API tokens."""
