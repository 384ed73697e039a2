"""A model over HTTP, as OpenAI's interface has it."""
