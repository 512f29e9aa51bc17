"""The label-efficiency experiment: grid of cells, statistics, report."""

from mosei_ssl.study.analysis import AnalysisOptions, analyse
from mosei_ssl.study.config import (
    ArmConfig,
    SearchConfig,
    StatisticsConfig,
    StudyConfig,
    load_study_config,
)
from mosei_ssl.study.runner import StudyResult, run_study

__all__ = [
    "AnalysisOptions",
    "ArmConfig",
    "SearchConfig",
    "StatisticsConfig",
    "StudyConfig",
    "StudyResult",
    "analyse",
    "load_study_config",
    "run_study",
]
