"""What is wrong with a machine or a workspace, and what helps."""
