from typing import get_args

from jobs.core.choices import ExportFormat, ReviewFormat
from jobs.datasets import export_formats
from jobs.review import export_reviews
from transforms.formats.reviewing.annotator_policy import POLICIES, Policy


def test_every_choice_of_a_format_has_a_writer_and_every_writer_can_be_chosen() -> None:
    assert sorted(get_args(ExportFormat)) == sorted(export_formats.FORMATS)
    assert sorted(get_args(ReviewFormat)) == sorted(export_reviews.FORMATS)


def test_the_list_of_policies_is_that_of_their_type() -> None:
    assert get_args(Policy) == POLICIES
