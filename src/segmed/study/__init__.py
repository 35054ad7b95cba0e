"""The study: all systems trained, scored and explained under the same splits, by one command that can be continued."""

from segmed.study.run import Study, run_study
from segmed.study.settings import StudySettings

__all__ = ["Study", "StudySettings", "run_study"]
