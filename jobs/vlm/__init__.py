"""Vision language models: questions about frames, each sent once, paid once and recorded."""
