"""Questions to vision language models: put once, paid once, and put down before the next one."""
