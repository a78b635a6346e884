"""The instant head, live: fitted again after every answer with numpy alone, from features that the engine stored."""
