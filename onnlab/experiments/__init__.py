"""The experiments of the book: declared here, run by ``onnlab run NAME``, kept in ``results/``."""

from onnlab.experiments.catalogue import EXPERIMENTS, SCALES, ntkd, sclc, when_kd_helps
from onnlab.experiments.lines import append, check_line, read
from onnlab.experiments.runner import run
from onnlab.experiments.settings import Experiment, Row, Run, Trial
from onnlab.experiments.tables import Gain, TableRow, format_table, gain, table, tables_of

__all__ = [
    "EXPERIMENTS",
    "SCALES",
    "Experiment",
    "Gain",
    "Row",
    "Run",
    "TableRow",
    "Trial",
    "append",
    "check_line",
    "format_table",
    "gain",
    "ntkd",
    "read",
    "run",
    "sclc",
    "table",
    "tables_of",
    "when_kd_helps",
]
