"""Accounts of a server: people, sessions, keys, invitations, members of projects, and what they did."""
