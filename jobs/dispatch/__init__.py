"""Jobs without somebody at the keyboard: the queue, its gateway, schedules, screens and metrics."""
