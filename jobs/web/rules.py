"""Who may use which route: one table. A server with a route that is not in it does not start.

A role in a project includes lower ones, and admins of the server have all of them. A key reaches a route where it has
the scope, and its owner the role; routes without a scope are for people in browsers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobs.accounts.roles import Role, Scope

Needs = Literal["nobody", "person", "server-admin"] | Role
"""`nobody`: no account; `person`: any account; `server-admin`: an admin of the server; else a role in the project."""


@dataclass(frozen=True)
class RouteRule:
    """Who may use a route, and the scope of keys that reach it (None for none).

    A key for one project reaches routes of that project, and those which answer it with nothing of others: these are
    `is_narrowed`.
    """

    needs: Needs
    scope: Scope | None = None
    is_narrowed: bool = False


RULES: dict[str, RouteRule] = {
    "health": RouteRule("nobody", "read"),
    "ready": RouteRule("nobody", "read"),
    "openapi": RouteRule("nobody", "read"),
    "local_metrics": RouteRule("nobody"),
    "sign_in": RouteRule("nobody"),
    "enter": RouteRule("nobody"),
    "sign_in_ways": RouteRule("nobody"),
    "begin_oidc": RouteRule("nobody"),
    "finish_oidc": RouteRule("nobody"),
    "check_invitation": RouteRule("nobody"),
    "accept_invitation": RouteRule("nobody"),
    "metrics": RouteRule("server-admin", "metrics"),
    "sign_out": RouteRule("person"),
    "me": RouteRule("person", "read", is_narrowed=True),
    "change_me": RouteRule("person"),
    "get_keymap": RouteRule("person"),
    "put_keymap": RouteRule("person"),
    "list_sessions": RouteRule("person"),
    "end_session": RouteRule("person"),
    "list_identities": RouteRule("person"),
    "unlink_identity": RouteRule("person"),
    "list_keys": RouteRule("person", "admin"),
    "add_key": RouteRule("person"),
    "revoke_key": RouteRule("person", "admin"),
    "list_users": RouteRule("server-admin", "admin"),
    "add_user": RouteRule("server-admin", "admin"),
    "change_user": RouteRule("server-admin", "admin"),
    "reset_user": RouteRule("server-admin"),
    "list_invitations": RouteRule("server-admin", "admin"),
    "add_invitation": RouteRule("server-admin"),
    "revoke_invitation": RouteRule("server-admin", "admin"),
    "list_audit": RouteRule("server-admin", "admin"),
    "events": RouteRule("person", "read", is_narrowed=True),
    "list_projects": RouteRule("person", "read", is_narrowed=True),
    "add_project": RouteRule("server-admin", "admin"),
    "list_members": RouteRule("admin", "admin"),
    "put_member": RouteRule("admin", "admin"),
    "remove_member": RouteRule("admin", "admin"),
    "overview": RouteRule("viewer", "read"),
    "list_streams": RouteRule("viewer", "read"),
    "timeline": RouteRule("viewer", "read"),
    "list_frames": RouteRule("viewer", "read"),
    "facets": RouteRule("viewer", "read"),
    "frame": RouteRule("viewer", "read"),
    "frame_image": RouteRule("viewer", "read"),
    "debug_frame": RouteRule("viewer", "read"),
    "list_columns": RouteRule("viewer", "read"),
    "list_similar": RouteRule("viewer", "read"),
    "search_frames": RouteRule("viewer", "read"),
    "get_map": RouteRule("viewer", "read"),
    "get_map_colours": RouteRule("viewer", "read"),
    "get_map_nearest": RouteRule("viewer", "read"),
    "list_overrides": RouteRule("viewer", "read"),
    "put_overrides": RouteRule("reviewer", "review"),
    "list_jobs": RouteRule("viewer", "read"),
    "get_job": RouteRule("viewer", "read"),
    "seen_image": RouteRule("viewer", "read"),
    "get_journal": RouteRule("viewer", "read"),
    "list_runs": RouteRule("viewer", "read"),
    "diff_runs": RouteRule("viewer", "read"),
    "diff_run_frames": RouteRule("viewer", "read"),
    "list_schedules": RouteRule("viewer", "read"),
    "list_selections": RouteRule("viewer", "read"),
    "list_releases": RouteRule("viewer", "read"),
    "diff_releases": RouteRule("viewer", "read"),
    "dataset_choices": RouteRule("viewer", "read"),
    "dataset_command": RouteRule("admin", "submit"),
    "show_release": RouteRule("viewer", "read"),
    "diff_release_frames": RouteRule("viewer", "read"),
    "show_export": RouteRule("viewer", "read"),
    "delete_selection": RouteRule("admin", "submit"),
    "delete_release": RouteRule("admin", "submit"),
    "list_exports": RouteRule("viewer", "read"),
    "download_export": RouteRule("viewer", "read"),
    "add_map": RouteRule("admin", "submit"),
    "add_selection": RouteRule("admin", "submit"),
    "add_release": RouteRule("admin", "submit"),
    "add_export": RouteRule("admin", "submit"),
    "delete_export": RouteRule("admin", "submit"),
    "add_training": RouteRule("admin", "train"),
    "preflight_training": RouteRule("admin", "train"),
    "get_training": RouteRule("viewer", "read"),
    "list_models": RouteRule("viewer", "read"),
    "model_history": RouteRule("viewer", "read"),
    "model_evidence": RouteRule("viewer", "read"),
    "promote_model": RouteRule("admin", "promote"),
    "roll_back_model": RouteRule("admin", "promote"),
    "add_evaluation": RouteRule("admin", "train"),
    "get_evaluation": RouteRule("viewer", "read"),
    "get_thresholds": RouteRule("viewer", "read"),
    "preview_thresholds": RouteRule("reviewer", "read"),
    "get_configuration": RouteRule("viewer", "read"),
    "plan_job": RouteRule("admin", "submit"),
    "add_job": RouteRule("admin", "submit"),
    "replay_job": RouteRule("admin", "submit"),
    "replay_job_stage": RouteRule("admin", "submit"),
    "retry_job": RouteRule("admin", "submit"),
    "add_schedule": RouteRule("admin", "submit"),
    "remove_schedule": RouteRule("admin", "submit"),
    "run_schedule": RouteRule("admin", "submit"),
    "pause_job": RouteRule("admin", "control"),
    "resume_job": RouteRule("admin", "control"),
    "step_job": RouteRule("admin", "control"),
    "pause_job_after": RouteRule("admin", "control"),
    "stop_job": RouteRule("admin", "control"),
    "cancel_job": RouteRule("admin", "control"),
    "clear_job": RouteRule("admin", "control"),
    "control_gateway": RouteRule("server-admin", "admin"),
    "review_settings": RouteRule("viewer", "read"),
    "review_categories": RouteRule("viewer", "read"),
    "review_figures": RouteRule("annotator", "read"),
    "review_frame": RouteRule("viewer", "read"),
    "review_queue": RouteRule("viewer", "read"),
    "review_history": RouteRule("viewer", "read"),
    "list_comments": RouteRule("viewer", "read"),
    "add_review_event": RouteRule("annotator", "annotate"),
    "add_comment": RouteRule("annotator", "annotate"),
    "add_review_bulk": RouteRule("annotator", "annotate"),
    "add_review_track": RouteRule("annotator", "annotate"),
    "start_masks": RouteRule("annotator", "annotate"),
    "follow_objects": RouteRule("annotator", "annotate"),
    "add_mask": RouteRule("annotator", "annotate"),
    "add_leases": RouteRule("annotator", "annotate"),
    "lengthen_lease": RouteRule("annotator", "annotate"),
    "end_lease": RouteRule("annotator", "annotate"),
    "add_review_decision": RouteRule("reviewer", "review"),
    "change_review_settings": RouteRule("admin", "admin"),
    "change_category": RouteRule("admin", "admin"),
    "undo_category_change": RouteRule("admin", "admin"),
}
