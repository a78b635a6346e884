"""The language model: loading, adapters, sampling, log-probabilities, and the engine that serves it over HTTP."""
