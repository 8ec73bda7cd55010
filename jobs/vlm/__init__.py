"""Questions to vision language models: each asked once, paid once, and recorded before the next one."""
