"""Projects: settings, guidelines, members, retraining policy."""
