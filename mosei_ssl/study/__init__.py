"""The label-efficiency experiment: three waves of trainings, statistics, report."""

from mosei_ssl.study.analysis import analyse
from mosei_ssl.study.config import load_study_config
from mosei_ssl.study.options import ArmConfig, SearchConfig, StatisticsConfig, StudyConfig
from mosei_ssl.study.runner import StudyResult, run_study

__all__ = [
    "ArmConfig",
    "SearchConfig",
    "StatisticsConfig",
    "StudyConfig",
    "StudyResult",
    "analyse",
    "load_study_config",
    "run_study",
]
